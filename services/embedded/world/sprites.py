"""Fetches the sprites once: npm packages in, one atlas file out. Afterwards the world needs no network.

Sources: @lobehub/fluent-emoji-3d and @iconify-json/fluent-emoji-flat (Microsoft's Fluent Emoji, MIT),
@iconify-json/noto and @iconify-json/noto-v1 (Google's Noto Emoji, Apache-2.0), and for the unseen style
@iconify-json/twemoji (Twitter's emoji, CC-BY-4.0).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_dir

from services.embedded.world.atlas import SIDE, Atlas
from services.embedded.world.concepts import CONCEPT, SPRITE_NAMES, TRAIN_STYLES, UNSEEN_STYLES

FOLDER_VARIABLE: Final = "LLAVA_PLUS_WORLD_DIR"
STYLES: Final = TRAIN_STYLES + UNSEEN_STYLES
PACKAGES: Final = MappingProxyType(
    {
        "fluent3d": ("@lobehub/fluent-emoji-3d", "1.1.0"),
        "fluent": ("@iconify-json/fluent-emoji-flat", "1.2.6"),
        "noto": ("@iconify-json/noto", "1.2.9"),
        "noto1": ("@iconify-json/noto-v1", "1.2.5"),
        "twemoji": ("@iconify-json/twemoji", "1.2.5"),
    }
)
_LAYOUT: Final = 1
"""Raise when the same packages give another atlas."""
_MARGIN: Final = 2
_NPM_TIMEOUT_S: Final = 600.0

SpriteSource = Callable[[str], NDArray[np.uint8]]


class WorldNotReady(RuntimeError):
    """The sprites cannot be had; the message says what to install or run."""


def world_folder() -> Path:
    """Where packages and atlas are kept: `LLAVA_PLUS_WORLD_DIR`, else the user's cache folder."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path(user_cache_dir("llava-plus")) / "world"


def atlas_path(folder: Path | None = None) -> Path:
    """The atlas file that belongs to the concepts and package versions of this code; it need not exist yet."""
    key = json.dumps([_LAYOUT, SIDE, dict(PACKAGES), [(name, CONCEPT[name].codepoint) for name in SPRITE_NAMES]])
    return (folder or world_folder()) / f"atlas-{hashlib.sha256(key.encode()).hexdigest()[:10]}.npz"


@lru_cache(maxsize=2)
def load_atlas(folder: Path | None = None) -> Atlas:
    """The atlas, built first where it is missing (a minute, with npm).

    Raises:
        WorldNotReady: the atlas is missing and cannot be built here.
    """
    path = atlas_path(folder)
    if not path.is_file():
        build_atlas(folder)
    return Atlas.load(path)


def build_atlas(folder: Path | None = None, *, report: Callable[[str], None] = lambda line: None) -> Path:
    """Fetch the packages, draw every sprite and write the atlas.

    Raises:
        WorldNotReady: Node's npm or resvg-py is missing, the registry cannot be reached, or a package lacks a sprite.
    """
    folder = folder or world_folder()
    archives = {style: _archive(style, folder / "npm", report) for style in STYLES}
    names = _icon_names(archives["noto"])
    rows = []
    for style in STYLES:
        report(f"drawing {len(SPRITE_NAMES)} sprites of {style}")
        draw = _webp_source(archives[style]) if style == "fluent3d" else _svg_source(archives[style], names)
        rows.append(np.stack([fitted(draw(CONCEPT[name].codepoint)) for name in SPRITE_NAMES]))
    report("splitting sprites into parts")
    path = atlas_path(folder)
    Atlas.from_sprites(STYLES, SPRITE_NAMES, np.stack(rows)).save(path)
    report(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def fitted(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop a picture to what is visible and centre it in [SIDE, SIDE, 4], the longer side filled up to a margin."""
    rows, columns = np.nonzero(rgba[..., 3] > 8)
    if not len(rows):
        raise ValueError("the sprite is empty")
    cropped = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)
    scale = (SIDE - 2 * _MARGIN) / max(cropped.shape[:2])
    height, width = (max(1, round(side * scale)) for side in cropped.shape[:2])
    cropped[..., :3] *= cropped[..., 3:] / 255.0
    scaled = cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    alpha = np.clip(scaled[..., 3:], 0.0, 255.0)
    colour = np.clip(scaled[..., :3] * 255.0 / np.maximum(alpha, 1.0), 0.0, 255.0)
    result = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    drawn = np.concatenate([np.where(alpha > 1.0, colour, 0.0), alpha], axis=2)
    result[top : top + height, left : left + width] = np.rint(drawn).astype(np.uint8)
    return result


def _archive(style: str, folder: Path, report: Callable[[str], None]) -> Path:
    package, version = PACKAGES[style]
    path = folder / f"{package.removeprefix('@').replace('/', '-')}-{version}.tgz"
    if path.is_file():
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise WorldNotReady("The sprites of the embedded world come from npm packages: install Node.js with npm.")
    report(f"fetching {package}@{version}")
    folder.mkdir(parents=True, exist_ok=True)
    # An archive appears under its name only when it is whole.
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        command = [npm, "pack", f"{package}@{version}", "--pack-destination", partial, "--silent"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise WorldNotReady(f"npm could not fetch {package}@{version}: check the network and try again.") from error
        if not (Path(partial) / path.name).is_file():
            raise WorldNotReady(f"npm fetched {package}@{version}, but it is not called {path.name}.")
        (Path(partial) / path.name).replace(path)
    return path


def _icon_names(noto: Path) -> dict[str, str]:
    """Icon names by code point. The sets share Unicode's names, and noto's list serves all (noto-v1 has none)."""
    listed = _read_json(noto, "chars.json")
    return {code.removesuffix("-fe0f"): str(name) for code, name in listed.items()}


def _read_json(archive: Path, member: str) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        stream = tar.extractfile(f"package/{member}")
        if stream is None:
            raise WorldNotReady(f"{archive.name} has no {member}.")
        content: dict[str, Any] = json.load(stream)
    return content


def _webp_source(archive: Path) -> SpriteSource:
    with tarfile.open(archive) as tar:
        files = {
            Path(member.name).stem.removesuffix("-fe0f"): stream.read()
            for member in tar
            if member.name.endswith(".webp") and (stream := tar.extractfile(member)) is not None
        }

    def draw(codepoint: str) -> NDArray[np.uint8]:
        if codepoint not in files:
            raise WorldNotReady(f"{archive.name} has no emoji {codepoint}.")
        return np.asarray(Image.open(io.BytesIO(files[codepoint])).convert("RGBA"))

    return draw


def _svg_source(archive: Path, names: dict[str, str]) -> SpriteSource:
    try:
        import resvg_py
    except ImportError as error:
        raise WorldNotReady("Drawing the sprites needs resvg-py: pip install 'llava-plus-platform[train]'.") from error
    icons = _read_json(archive, "icons.json")

    def draw(codepoint: str) -> NDArray[np.uint8]:
        name = names.get(codepoint, codepoint)
        name = icons.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons["icons"].get(name)
        if icon is None:
            raise WorldNotReady(f"{archive.name} has no emoji {codepoint}.")
        width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
        )
        drawn = resvg_py.svg_to_bytes(svg_string=svg, width=2 * SIDE, height=2 * SIDE, skip_system_fonts=True)
        return np.asarray(Image.open(io.BytesIO(drawn)).convert("RGBA"))

    return draw


if __name__ == "__main__":
    build_atlas(report=print)
