"""Folders of rendered scenes: they grow, serve whoever wants fewer, and say what is wrong with them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.planner_data import world_pictures
from services.embedded.eval import splits
from services.embedded.eval.progress import quiet
from services.embedded.training.command import TrainingError, render_world
from services.embedded.world import cache as caching
from services.embedded.world.cache import SceneCache, StaleCache
from services.embedded.world.concepts import DEV_SEED, TRAIN_SEED, TRAIN_STYLES
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene, scene_rng
from tests.world_sprites import shapes_atlas

STYLES = TRAIN_STYLES[:2]


def build(folder: Path, count: int, report: Callable[[str], None] = quiet, seed: int = 9) -> SceneCache:
    return SceneCache.build(folder, count, seed, STYLES, size=32, atlas=shapes_atlas(), report=report)


def check(cache: SceneCache) -> None:
    """Every scene is what its number says."""
    for index, found in enumerate(cache):
        expected = render(sample_scene(scene_rng(9, index), STYLES), 32, shapes_atlas())
        assert found.scene == expected.scene
        assert found.objects == expected.objects
        for name in ("image", "instances", "parts"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), (index, name)


def test_a_folder_serves_whoever_wants_fewer_scenes(tmp_path: Path) -> None:
    build(tmp_path, 7)
    lines: list[str] = []
    assert len(build(tmp_path, 3, lines.append)) == 7
    assert lines == [], "nothing is drawn again"


def test_a_folder_grows_for_whoever_wants_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    build(tmp_path, 7)
    before = (tmp_path / "images.npy").stat().st_ino
    lines: list[str] = []
    grown = build(tmp_path, 120, lines.append)
    assert lines == ["107 of 120 scenes, " + lines[0].rpartition(", ")[2], "120 of 120 scenes, 0 s left"]
    assert len(grown) == len(SceneCache(tmp_path)) == 120
    assert (tmp_path / "images.npy").stat().st_ino == before
    check(grown)


def test_a_folder_can_be_read_while_it_grows_and_after_growing_was_cut(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    early = build(tmp_path, 7)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, 230, stop)
    assert len(SceneCache(tmp_path)) == 7
    check(early)
    check(SceneCache(tmp_path))
    lines: list[str] = []
    check(build(tmp_path, 230, lines.append))
    assert lines[0].startswith("207 of 230"), "the hundred that were drawn before the cut are kept"


@pytest.mark.parametrize("wanted", [60, 170])
def test_a_cut_build_can_be_finished_with_another_number_of_scenes(tmp_path: Path, wanted: int) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, 130, stop)
    made = build(tmp_path, wanted)
    assert len(made) == wanted
    check(made)


def test_other_scenes_are_refused_with_what_is_there_and_what_was_wanted(tmp_path: Path) -> None:
    build(tmp_path, 4)
    with pytest.raises(StaleCache, match=r"holds 4 other scenes \(seed 9; wanted: seed 10\): remove it"):
        build(tmp_path, 4, seed=10)
    with pytest.raises(StaleCache, match=rf"styles {STYLES[0]}\+{STYLES[1]}; wanted: styles {STYLES[0]}\)"):
        SceneCache.build(tmp_path, 4, 9, STYLES[:1], size=32, atlas=shapes_atlas())


def test_scenes_of_another_version_of_the_world_are_not_trained_on(tmp_path: Path) -> None:
    build(tmp_path, 2)
    meta = json.loads((tmp_path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(meta | {"world": "1/atlas-old"}))
    with pytest.raises(StaleCache, match=r"world 1/atlas-old; wanted: world \d"):
        SceneCache(tmp_path)


def test_a_damaged_folder_says_so(tmp_path: Path) -> None:
    build(tmp_path, 3)
    lines = (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_bytes(lines[0])
    with pytest.raises(StaleCache, match="is damaged: remove it"):
        SceneCache(tmp_path)
    (tmp_path / "meta.json").write_text('{"count": 3, "se')
    with pytest.raises(StaleCache, match=r"meta\.json cannot be read: remove"):
        build(tmp_path, 3)


def test_two_builds_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    refused: list[str] = []

    def meanwhile(line: str) -> None:
        with pytest.raises(StaleCache, match="Another process renders into") as error:
            build(tmp_path, 9)
        refused.append(str(error.value))

    check(build(tmp_path, 2, meanwhile))
    assert refused


def test_a_disk_without_room_is_told_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5_000))
    lines: list[str] = []
    with pytest.raises(StaleCache, match=r"4 scenes more take 0\.0 GB .* are free: make room"):
        build(tmp_path, 4, lines.append)
    assert lines == []
    monkeypatch.undo()
    check(build(tmp_path, 4))


def test_a_rendering_process_that_is_killed_ends_the_build_with_a_sentence() -> None:
    die: Any = os._exit
    chunks: Any = [9, 9]
    with pytest.raises(StaleCache, match=r"was killed: .* It goes on where it was"):
        list(caching._results(die, chunks, 2))


def test_fewer_scenes_are_rendered_beside_more_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "load_atlas", lambda: pytest.fail("nothing is to be drawn"))
    for name, seed in (("train", TRAIN_SEED), ("dev", DEV_SEED)):
        SceneCache.build(tmp_path / name, 3, seed, TRAIN_STYLES, atlas=shapes_atlas(TRAIN_STYLES))
    render_world(tmp_path, 2, 2, 1)
    assert f"{tmp_path / 'train'}: 3 scenes" in capsys.readouterr().out
    assert len(world_pictures(tmp_path, count=2)) == 3
    meta = tmp_path / "train" / "meta.json"
    meta.write_text(meta.read_text().replace('"seed": 1', '"seed": 5'))
    with pytest.raises(TrainingError, match=r"holds 3 other scenes \(seed 5; wanted: seed 1\)"):
        render_world(tmp_path, 2, 2, 1)


def test_more_held_out_scenes_than_usual_are_rendered_and_not_silently_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "load_atlas", lambda: shapes_atlas((*TRAIN_STYLES, "twemoji")))
    monkeypatch.setattr("services.embedded.world.render.load_atlas", lambda: shapes_atlas((*TRAIN_STYLES, "twemoji")))
    monkeypatch.setattr(splits, "SCENES_IN_STYLE", 2)
    monkeypatch.setattr(splits, "SCENES_UNSEEN", 2)
    in_style, unseen = splits.held_out(tmp_path, 5, 1, 4, quiet)
    assert (len(in_style.scenes), len(unseen.scenes)) == (5, 1)
