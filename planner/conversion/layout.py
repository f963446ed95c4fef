"""From the original tensors' names and shapes to those of `LlavaForConditionalGeneration`.

The tower's keys are `vision_tower.vision_model.*`, as in the published conversions: both transformers and vLLM take
them. The original's one-layer projector has no counterpart there, so it becomes two layers that compute the same:
relu(x) - relu(-x) = x, exactly, in any precision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from planner.conversion.source import ConversionError, TensorFiles

EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
PROJECTOR = "model.mm_projector."
_TOWER = re.compile(r"^(?:model\.vision_tower\.vision_tower\.|model\.vision_tower\.|)vision_model\.(?P<rest>.+)$")
_LANGUAGE = re.compile(r"^model\.(?:embed_tokens|layers|norm)\.")
_DROPPED = re.compile(r"rotary_emb\.inv_freq$|embeddings\.position_ids$")
_NOT_THE_TOWER = re.compile(r"^(?:text_model\.|text_projection|visual_projection|logit_scale)")
_LAYERS = {"0.weight": "linear_1.weight", "0.bias": "linear_1.bias", "2.weight": "linear_2.weight"} | {
    "2.bias": "linear_2.bias"
}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: `make` reads and reshapes it when its turn comes."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    make: Callable[[], Any]


@dataclass(frozen=True)
class Sources:
    """Where tensors come from.

    Attributes:
        checkpoint: the original model, or the delta of one.
        base: what a delta is added to, or None.
        tower: a CLIP model, or None where the checkpoint holds its own tower.
    """

    checkpoint: TensorFiles
    base: TensorFiles | None
    tower: TensorFiles | None


def tensors(sources: Sources, rows: int) -> list[Tensor]:
    """Everything to write, in a fixed order.

    Args:
        rows: of the embeddings in the end: the vocabulary with what was added to it.

    Raises:
        ConversionError: a tensor is unknown or missing, or the projector is of another kind.
    """
    made = [*_language(sources, rows), *_projector(sources.checkpoint), *_tower(sources)]
    return sorted(made, key=lambda tensor: tensor.name)


def projector_layers(checkpoint: TensorFiles) -> int:
    """1 (LLaVA, LLaVA-Plus) or 2 (LLaVA 1.5).

    Raises:
        ConversionError: there is none, or one of another kind.
    """
    parts = {name.removeprefix(PROJECTOR) for name in checkpoint.tensors if name.startswith(PROJECTOR)}
    if parts == {"weight", "bias"}:
        return 1
    if parts == set(_LAYERS):
        return 2
    if not parts:
        raise ConversionError(f"{checkpoint.folder} has no {PROJECTOR}*: it is no LLaVA checkpoint.")
    raise ConversionError(f"The projector has {', '.join(sorted(parts))}: only one or two linear layers are known.")


def embedding_rows(checkpoint: TensorFiles) -> int:
    """Rows of the original's embeddings.

    Raises:
        ConversionError: they are missing.
    """
    if EMBEDDINGS[0] not in checkpoint.tensors:
        raise ConversionError(f"{checkpoint.folder} has no {EMBEDDINGS[0]}: is a file missing?")
    return checkpoint.tensors[EMBEDDINGS[0]].shape[0]


def _language(sources: Sources, rows: int) -> Iterable[Tensor]:
    checkpoint = sources.checkpoint
    for name, info in checkpoint.tensors.items():
        if _DROPPED.search(name) or name.startswith(PROJECTOR) or _TOWER.match(name):
            continue
        if not (_LANGUAGE.match(name) or name == "lm_head.weight"):
            raise ConversionError(f"{info.file.name} has {name}, which no LLaVA model has.")
        shape = (rows, *info.shape[1:]) if name in EMBEDDINGS else info.shape
        yield Tensor(f"language_model.{name}", shape, info.dtype, _reader(sources, name, shape))


def _reader(sources: Sources, name: str, shape: tuple[int, ...]) -> Callable[[], Any]:
    if sources.base is not None:
        base = sources.base.tensors.get(name)
        delta = sources.checkpoint.tensors[name]
        if base is None:
            raise ConversionError(f"The base model has no {name}: it is not the model that the delta was made from.")
        if base.shape != delta.shape and (name not in EMBEDDINGS or base.shape[0] > delta.shape[0]):
            raise ConversionError(f"{name} is {base.shape} in the base model and {delta.shape} in the delta.")

    def make() -> Any:
        tensor = sources.checkpoint.read(name)
        if sources.base is not None:
            tensor = _added(tensor, sources.base.read(name))
        return _grown(tensor, shape[0]) if name in EMBEDDINGS else tensor

    return make


def _added(delta: Any, base: Any) -> Any:
    """Delta plus base, as published: summed in the delta's type; rows that the base lacks are the delta's own."""
    total = delta.clone()
    total[: base.shape[0]] += base.to(delta.dtype)
    return total


def _grown(embedding: Any, rows: int) -> Any:
    """New rows are the mean of all others: a mean of logits is never the largest, so no new token is ever written."""
    import torch

    missing = rows - embedding.shape[0]
    if missing <= 0:
        return embedding
    mean = embedding.float().mean(dim=0, keepdim=True).to(embedding.dtype)
    return torch.cat([embedding, mean.expand(missing, -1)])


def _projector(checkpoint: TensorFiles) -> Iterable[Tensor]:
    target = "multi_modal_projector."
    if projector_layers(checkpoint) == 2:
        for part, new in _LAYERS.items():
            info = checkpoint.tensors[PROJECTOR + part]
            yield Tensor(target + new, info.shape, info.dtype, partial(checkpoint.read, PROJECTOR + part))
        return
    info = checkpoint.tensors[f"{PROJECTOR}weight"]
    text, vision = info.shape
    if text < 2 * vision:
        raise ConversionError(
            f"A one-layer projector from {vision} to {text} numbers cannot be written as two layers: the language "
            "model must be at least twice as wide as the vision tower."
        )
    for name, shape in (("linear_1.weight", (text, vision)), ("linear_2.weight", (text, text))):
        yield Tensor(target + name, shape, info.dtype, partial(_split, checkpoint, name))
    for name in ("linear_1.bias", "linear_2.bias"):
        yield Tensor(target + name, (text,), info.dtype, partial(_split, checkpoint, name))


def _split(checkpoint: TensorFiles, name: str) -> Any:
    """One tensor of the two layers: x -> (x, -x, 0) -> relu -> W x+ - W x- + b."""
    import torch

    weight = checkpoint.read(f"{PROJECTOR}weight")
    text, vision = weight.shape
    if name == "linear_2.bias":
        return checkpoint.read(f"{PROJECTOR}bias")
    if name == "linear_1.bias":
        return torch.zeros(text, dtype=weight.dtype)
    one = torch.eye(vision, dtype=weight.dtype)
    if name == "linear_1.weight":
        return torch.cat([one, -one, torch.zeros(text - 2 * vision, vision, dtype=weight.dtype)])
    return torch.cat([weight, -weight, torch.zeros(text, text - 2 * vision, dtype=weight.dtype)], dim=1)


def _tower(sources: Sources) -> Iterable[Tensor]:
    own = [name for name in sources.checkpoint.tensors if _TOWER.match(name)]
    files = sources.checkpoint if own else sources.tower
    if files is None:
        raise ConversionError("The checkpoint has no vision tower: name a folder with the CLIP model (--vision-tower).")
    for name, info in files.tensors.items():
        found = _TOWER.match(name)
        if found is None:
            if files is sources.tower and not _NOT_THE_TOWER.match(name) and not _DROPPED.search(name):
                raise ConversionError(f"{info.file.name} has {name}, which no CLIP model has.")
            continue
        if not _DROPPED.search(name):
            new = f"vision_tower.vision_model.{found['rest']}"
            yield Tensor(new, info.shape, info.dtype, partial(files.read, name))
