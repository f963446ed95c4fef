"""The atlas of the embedded world: where sprites come from, their parts and colours."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.embedded.world import sheet, sprites
from services.embedded.world.atlas import SIDE, Atlas
from services.embedded.world.concepts import COLOURS, CONCEPT, SPRITE_NAMES
from services.embedded.world.parts import MOST_PARTS, part_map
from services.embedded.world.recolour import recoloured
from tests.world_sprites import shapes_atlas


def disc(colour: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[rows**2 + columns**2 < 0.8] = (*colour, 255)
    return rgba


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"package/{name}")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def make_packages(folder: Path) -> None:
    """Archives like npm's, with one round sprite for every concept."""
    folder.mkdir(parents=True)
    codes = [CONCEPT[name].codepoint for name in SPRITE_NAMES]
    picture = io.BytesIO()
    Image.fromarray(disc((220, 40, 40))).save(picture, "WEBP", lossless=True)
    circle = '<circle cx="16" cy="16" r="9" fill="#c22"/>'
    icons = {"width": 32, "height": 32, "icons": {f"icon-{code}": {"body": circle} for code in codes[1:]}}
    icons["icons"]["shared"] = {"body": circle}  # type: ignore[index]
    icons["aliases"] = {f"icon-{codes[0]}": {"parent": "shared"}}
    for style, (package, version) in sprites.PACKAGES.items():
        path = folder / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            if style == "fluent3d":
                for code in codes:
                    add(archive, f"assets/{code}-fe0f.webp", picture.getvalue())
            else:
                add(archive, "icons.json", json.dumps(icons).encode())
                # noto-v1's own list is empty.
                chars = {} if style == "noto1" else {code: f"icon-{code}" for code in codes}
                add(archive, "chars.json", json.dumps(chars).encode())


def test_the_atlas_is_built_from_packages_and_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is in the extra `train`")
    # Three concepts are enough: the first is an alias in the SVG packages.
    monkeypatch.setattr(sprites, "SPRITE_NAMES", SPRITE_NAMES[:3])
    make_packages(tmp_path / "npm")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    lines: list[str] = []
    path = sprites.build_atlas(tmp_path, report=lines.append)
    assert path == sprites.atlas_path(tmp_path)
    assert any("drawing" in line for line in lines)
    atlas = Atlas.load(path)
    assert atlas.styles == sprites.STYLES
    assert atlas.concepts == SPRITE_NAMES[:3]
    for style in atlas.styles:
        rgba = atlas.straight(style, "dog")
        filled = np.nonzero(rgba[..., 3] > 127)[0]
        assert SIDE - 6 <= filled.max() - filled.min() + 1 <= SIDE
        assert rgba[SIDE // 2, SIDE // 2, 0] > 150


def test_without_npm_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(sprites.WorldNotReady, match=r"install Node\.js"):
        sprites.build_atlas(tmp_path)


def test_a_failing_npm_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises(sprites.WorldNotReady, match="check the network"):
        sprites.build_atlas(tmp_path)


def test_an_archive_that_npm_was_cut_at_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm-cut"
    npm.write_text('#!/bin/sh\necho half > "$4/lobehub-fluent-emoji-3d-1.1.0.tgz"\nexit 1\n')
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    for _ in range(2):
        with pytest.raises(sprites.WorldNotReady, match="check the network"):
            sprites.build_atlas(tmp_path / "world")
    assert list((tmp_path / "world" / "npm").iterdir()) == []


def test_the_sample_page_says_what_is_missing_instead_of_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv(sprites.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr("sys.argv", ["sheet", "--output", str(tmp_path / "index.html")])
    with pytest.raises(SystemExit, match=r"install Node\.js with npm"):
        sheet.main()


def test_the_folder_can_be_chosen_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sprites.FOLDER_VARIABLE, str(tmp_path))
    assert sprites.atlas_path().parent == tmp_path


def test_an_atlas_is_saved_and_loaded_unchanged(tmp_path: Path) -> None:
    atlas = shapes_atlas()
    atlas.save(tmp_path / "a.npz")
    again = Atlas.load(tmp_path / "a.npz")
    assert again.styles == atlas.styles
    assert np.array_equal(again.sprites, atlas.sprites)
    assert np.array_equal(again.parts, atlas.parts)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_arrays_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        Atlas(["one"], ["dog"], np.zeros((1, 2, SIDE, SIDE, 4), np.uint8), np.zeros((1, 1, SIDE, SIDE), np.uint8))


@pytest.mark.parametrize(("side", "expected"), [(200.0, 128), (65.0, 128), (64.0, 64), (20.0, 32), (3.0, 16)])
def test_a_sprite_is_the_smallest_copy_that_is_large_enough(side: float, expected: int) -> None:
    sprite = shapes_atlas().sprite(shapes_atlas().styles[0], "dog", None, side)
    assert sprite.rgba.shape == (expected, expected, 4)
    assert sprite.parts.shape == (expected, expected)
    assert (sprite.rgba[..., :3] <= sprite.rgba[..., 3:]).all()


def test_parts_are_the_regions_of_different_colour() -> None:
    rgba = disc((220, 60, 40))
    rgba[20:44, 32:52, :3] = (40, 60, 210)
    parts = part_map(rgba)
    assert set(np.unique(parts)) == {0, 1, 2}
    assert np.array_equal(parts > 0, rgba[..., 3] > 127)
    assert np.mean((parts == 2) == ((rgba[..., 2] > 200) & (rgba[..., 3] > 0))) > 0.98
    assert np.array_equal(parts, part_map(rgba))


def test_a_plain_sprite_has_one_part_and_an_empty_one_none() -> None:
    assert set(np.unique(part_map(disc((90, 160, 60))))) == {0, 1}
    assert not part_map(np.zeros((8, 8, 4), np.uint8)).any()


def test_no_sprite_has_more_parts_than_allowed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 4), dtype=np.uint8)
    noise[..., 3] = 255
    assert part_map(noise).max() <= MOST_PARTS


@pytest.mark.parametrize("colour", COLOURS)
def test_a_recoloured_sprite_keeps_its_shape_and_what_has_another_hue(colour: str) -> None:
    rgba = disc((210, 50, 40))
    rgba[28:36, 28:36, :3] = (70, 190, 230)
    changed = recoloured(rgba, colour)
    assert np.array_equal(changed[..., 3], rgba[..., 3])
    assert np.abs(changed[28:36, 28:36, :3].astype(int) - rgba[28:36, 28:36, :3]).max() <= 2


def test_named_colours_are_told_apart() -> None:
    means = [recoloured(disc((200, 60, 50)), colour)[32, 10, :3].astype(float) for colour in COLOURS]
    for one in range(len(means)):
        for other in range(one):
            assert np.abs(means[one] - means[other]).max() > 40, (COLOURS[one], COLOURS[other])


def test_a_grey_sprite_has_no_hue_to_change() -> None:
    grey = disc((120, 120, 120))
    assert np.array_equal(recoloured(grey, "red"), grey)


def test_an_empty_sprite_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="empty"):
        sprites.fitted(np.zeros((32, 32, 4), np.uint8))
