"""Checkpoints of RAM: our own folders, and whatever a profile names.

A folder holds `config.json` (sizes, mean and deviation of pixels), `model.safetensors`, `tags.txt` (one tag a line, in
the model's order) and `thresholds.json` (tag to the score that it needs).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from services.core.errors import SkillFailed
from services.models.ram.config import RAM_SWIN_LARGE, RamConfig
from services.models.ram.model import Ram
from services.models.ram.original import load_original
from services.models.ram.vocabulary import Vocabulary

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HUB_FILES = {
    "xinyu1205/recognize-anything-plus-model": "ram_plus_swin_large_14m.pth",
    "xinyu1205/recognize_anything_model": "ram_swin_large_14m.pth",
}


@dataclass(frozen=True, slots=True)
class OriginalFiles:
    """What an original `.pth` does not say; our folders need none of it.

    Attributes:
        tags, thresholds: the original's text files; None for those beside the `.pth`.
        image_size: side that pictures are resized to, pixels.
    """

    tags: Path | None = None
    thresholds: Path | None = None
    image_size: int = RAM_SWIN_LARGE.image_size


def save_pretrained(model: Ram, vocabulary: Vocabulary, folder: Path) -> None:
    """Write a checkpoint folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(model.config.model_dump_json(indent=1) + "\n", encoding="utf-8")
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    vocabulary.save(folder)


def from_pretrained(folder: Path) -> tuple[Ram, Vocabulary]:
    """What `save_pretrained` wrote, on the CPU and in the precision of the file."""
    from safetensors.torch import load_file

    config = RamConfig.model_validate_json((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = Ram(config)
    model.load_state_dict(load_file(folder / WEIGHTS_FILE), assign=True)
    return model, Vocabulary.load(folder)


def load(source: str, original: OriginalFiles) -> tuple[Ram, Vocabulary]:
    """A model and its tags from a folder of ours, an original file, a folder with one, or a hub id of either.

    Raises:
        SkillFailed: it is none of these, or tags and weights do not belong together.
    """
    path = Path(source) if Path(source).is_absolute() else _from_hub(source)
    if (path / CONFIG_FILE).is_file():
        model, vocabulary = from_pretrained(path)
    else:
        weights = _original_file(path)
        vocabulary = Vocabulary.load_original(weights, original.tags, original.thresholds)
        model = load_original(weights, original.image_size)
    if len(vocabulary.tags) != model.config.num_tags:
        raise SkillFailed(
            f"The list has {len(vocabulary.tags)} tags, the weights know {model.config.num_tags}: "
            "use the list that the weights were trained with."
        )
    return model, vocabulary


def _original_file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.pth"))
    if len(found) != 1:
        raise SkillFailed(f"{path.name} holds neither {CONFIG_FILE} nor exactly one .pth file: name the file itself.")
    return found[0]


def _from_hub(hub_id: str) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download

    if hub_id in HUB_FILES:
        return Path(hf_hub_download(hub_id, HUB_FILES[hub_id]))
    return Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
