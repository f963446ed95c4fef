"""Checkpoints of an architecture without its weights: random ones for the configuration files in a folder."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def with_random_weights(config_folder: Path, target: Path) -> Path:
    """Copy a checkpoint's folder to `target` and write seeded random weights beside each configuration.

    Args:
        config_folder: in from_pretrained layout: transformers' `config.json` with `architectures`, or a diffusers
            pipeline (`model_index.json` and a folder for each model). Weights in it are not used.

    Raises:
        SystemExit: the folder is no checkpoint; the message says what is missing.
    """
    import torch

    shutil.copytree(config_folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    torch.manual_seed(0)
    made = 0
    for folder, model_class in _models(target):
        model = _random(model_class, folder)
        model.save_pretrained(folder)
        made += 1
    if not made:
        raise SystemExit(f"{config_folder} has neither a model_index.json nor a config.json with `architectures`.")
    return target


def _models(folder: Path) -> Iterator[tuple[Path, Any]]:
    """The folders that need weights, with the class that each configuration is of."""
    index = folder / "model_index.json"
    if index.is_file():
        for name, entry in json.loads(index.read_text(encoding="utf-8")).items():
            if isinstance(entry, list) and (folder / name / "config.json").is_file():
                library, class_name = entry
                yield folder / name, getattr(importlib.import_module(library), class_name)
        return
    config = folder / "config.json"
    architectures = json.loads(config.read_text(encoding="utf-8")).get("architectures") if config.is_file() else None
    if architectures:
        yield folder, getattr(importlib.import_module("transformers"), architectures[0])


def _random(model_class: Any, folder: Path) -> Any:
    if hasattr(model_class, "from_config"):  # diffusers
        return model_class.from_config(model_class.load_config(folder))
    return model_class(model_class.config_class.from_pretrained(folder))
