"""The weights that a scoring run names: a published folder, a bare adapter, or what a training run has so far."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from planner.adapters import CONFIG_FILE, WEIGHTS_FILE
from planner.model import WEIGHTS
from planner.vision import CONFIG as VISION_CONFIG
from planner.vision import FILE as VISION_FILE

_COMPILED = "_orig_mod."
_PROJECTOR = "multi_modal_projector."


class NoWeights(ValueError):
    """There is nothing to score; the message says what to do."""


def newest(folder: Path) -> Path:
    """The folder itself, or of a training run's folder its newest checkpoint.

    Raises:
        NoWeights: it holds no adapter.
    """
    if (folder / WEIGHTS_FILE).is_file() and (folder / CONFIG_FILE).is_file():
        return folder
    checkpoints = [path for path in folder.glob("checkpoint-*") if (path / WEIGHTS_FILE).is_file()]
    if not checkpoints:
        raise NoWeights(f"{folder} holds no adapter ({WEIGHTS_FILE} and {CONFIG_FILE}) and no checkpoint with one.")
    return max(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]))


def content_hash(folder: Path) -> str:
    """A short name of the adapter's content: a training run puts other weights under the same name."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:16]


def complete(folder: Path, made: Path, base: Path = WEIGHTS) -> Path:
    """A folder of weights that the embedded planner is built from.

    Args:
        folder: an adapter, with or without vision parts beside it.
        made: where what is missing is put together.
        base: whose vision parts an adapter without any is served with.
    """
    from safetensors.torch import load_file, save_file

    if (folder / VISION_CONFIG).is_file():
        return folder
    made.mkdir(parents=True, exist_ok=True)
    tensors = {name.replace(_COMPILED, ""): tensor for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    projector = {
        _PROJECTOR + name.partition(_PROJECTOR)[2]: tensor for name, tensor in tensors.items() if _PROJECTOR in name
    }
    save_file({name: tensor for name, tensor in tensors.items() if ".lora_" in name}, made / WEIGHTS_FILE)
    shutil.copyfile(folder / CONFIG_FILE, made / CONFIG_FILE)
    shutil.copyfile(base / VISION_CONFIG, made / VISION_CONFIG)
    save_file(load_file(base / VISION_FILE) | projector, made / VISION_FILE)
    return made
