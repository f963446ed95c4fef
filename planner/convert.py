"""Turns an original LLaVA or LLaVA-Plus checkpoint into the folder that vLLM serves.

Reads v0 and v1 checkpoints of any size, whole or as a delta on their base model, with the vision tower inside or in a
folder of its own; writes a `LlavaForConditionalGeneration`. Memory holds one shard at a time, and a run that was cut
goes on with the first shard that is missing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from planner.conversion import layout, settings, writer
from planner.conversion.layout import Sources
from planner.conversion.source import ConversionError, TensorFiles, read_json

DType = Literal["stored", "float16", "bfloat16", "float32"]
_RECORD = "conversion.json"


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        base: the model that `source` is a delta of; None when it is whole.
        tower: folder of the CLIP model; None when the checkpoint holds its tower.
        turns: Vicuna's form of turns; None reads it from the folder's name.
        dtype: of the written weights.
        shard_bytes: most bytes of one file, and so of memory.
    """

    base: Path | None = None
    tower: Path | None = None
    turns: settings.Turns | None = None
    dtype: DType = "float16"
    shard_bytes: int = 2 * 2**30


def convert(source: Path, target: Path, options: Options, progress: writer.Progress) -> None:
    """Write the converted model into `target`.

    Raises:
        ConversionError: the source is not such a checkpoint, or `target` holds something else; says what to do.
    """
    import torch

    original = read_json(source / "config.json")
    turns = options.turns or settings.turns_of(source)
    sources = Sources(
        TensorFiles(source),
        TensorFiles(options.base) if options.base else None,
        TensorFiles(options.tower) if options.tower else None,
    )
    tokenizer = settings.tokenizer_for(source, original)
    rows = max(layout.embedding_rows(sources.checkpoint), len(tokenizer))
    vision = settings.tower_config(options.tower, str(original.get("mm_vision_tower", "")))
    layers = layout.projector_layers(sources.checkpoint)
    config = settings.llava_config(original, vision, tokenizer, rows, layers)
    tensors = layout.tensors(sources, rows)
    dtype = None if options.dtype == "stored" else getattr(torch, options.dtype)
    groups = writer.shards(tensors, options.shard_bytes, dtype)
    _claim(target, _fingerprint(sources, options, turns))
    writer.write(groups, target, dtype, progress)
    stored = str(dtype or tensors[0].dtype).removeprefix("torch.")
    template = settings.chat_template(turns, marks=bool(original.get("mm_use_im_start_end", False)))
    settings.write(target, config, stored, tokenizer, template, options.tower, original)


def _claim(target: Path, fingerprint: str) -> None:
    """Start in an empty folder, or go on in one of the same conversion."""
    record = target / _RECORD
    if record.is_file():
        if read_json(record).get("fingerprint") != fingerprint:
            raise ConversionError(f"{target} holds another conversion: remove it, or name another folder.")
        return
    if target.is_dir() and any(target.iterdir()):
        raise ConversionError(f"{target} is not empty: name another folder.")
    target.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")


def _fingerprint(sources: Sources, options: Options, turns: str) -> str:
    digest = hashlib.sha256(f"1 {turns} {options.dtype} {options.shard_bytes}".encode())
    for files in (sources.checkpoint, sources.base, sources.tower):
        for file in files.files if files else ():
            stat = file.stat()
            digest.update(f" {file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        digest.update(b" |")
    return digest.hexdigest()
