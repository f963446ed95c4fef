"""Writes safetensors in shards, each under a temporary name until it is whole: a cut run goes on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from planner.conversion.layout import Tensor

Progress = Callable[[int, int, str], None]
"""Bytes done, bytes in all, the shard that was written."""


def shards(tensors: Sequence[Tensor], shard_bytes: int, dtype: Any | None) -> list[list[Tensor]]:
    """Tensors in order, as many a shard as fit; one that is larger than a shard has its own."""
    groups: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        size = size_of(tensor, dtype)
        if not groups or size > room:
            groups.append([])
            room = shard_bytes
        groups[-1].append(tensor)
        room -= size
    return groups


def size_of(tensor: Tensor, dtype: Any | None) -> int:
    """Bytes of the tensor as it is written; `dtype` None keeps its type."""
    return int(math.prod(tensor.shape) * (dtype or tensor.dtype).itemsize)


def write(groups: Sequence[Sequence[Tensor]], target: Path, dtype: Any | None, progress: Progress) -> None:
    """Write shards that are not there yet, then the index. At most one shard is in memory."""
    sizes = [sum(size_of(tensor, dtype) for tensor in group) for group in groups]
    done = 0
    names = shard_names(len(groups))
    for group, name, size in zip(groups, names, sizes, strict=True):
        if not (target / name).is_file():
            _write_shard(group, target / name, dtype)
        done += size
        progress(done, sum(sizes), name)
    if len(names) > 1:
        weight_map = {tensor.name: name for group, name in zip(groups, names, strict=True) for tensor in group}
        index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
        (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def shard_names(count: int) -> list[str]:
    """The names that transformers and vLLM look for."""
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def _write_shard(group: Sequence[Tensor], path: Path, dtype: Any | None) -> None:
    from safetensors.torch import save_file

    # Cloned, since a mapped file's tensors may share storage, which safetensors refuses.
    ready = {tensor.name: tensor.make().to(dtype or tensor.dtype).clone().contiguous() for tensor in group}
    temporary = path.with_suffix(".part")
    save_file(ready, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)  # it is written readable by its owner alone
    temporary.replace(path)
