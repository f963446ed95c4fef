"""Batches of few fixed shapes: samples of like length together, so little is padding and compiled code is reused."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from planner.data.embedded import generate
from planner.data.released import to_conversation
from planner.language_model import STOP_TOKEN_ID
from planner.train.config import TrainConfig
from planner.train.encode import Encoded, Encoder


@dataclass(frozen=True)
class Batch:
    """Tensors of one step: ids and weights [samples, length], pixels [pictures, 3, side, side]."""

    ids: Any
    weights: Any
    pixels: Any

    @property
    def samples(self) -> int:
        return int(self.ids.shape[0])


def batches(config: TrainConfig, encoder: Encoder, side: int) -> Iterator[Batch]:
    """All batches of a run, the same for the same configuration."""
    rng = random.Random(config.seed)
    waiting: dict[int, list[Encoded]] = {length: [] for length in sorted(config.lengths)}
    ready: list[tuple[int, list[Encoded]]] = []
    for number, sample in enumerate(generate(config.samples, config.seed), start=1):
        encoded = encoder.encode(to_conversation(sample))
        length = next((bound for bound in waiting if len(encoded.ids) <= bound), None)
        if length is None:
            continue
        waiting[length].append(encoded)
        if len(waiting[length]) == batch_size(config, length):
            ready.append((length, waiting[length]))
            waiting[length] = []
        if number % config.pool == 0:
            rng.shuffle(ready)
            yield from (collate(group, bound, side) for bound, group in ready)
            ready = []
    yield from (collate(group, bound, side) for bound, group in ready)


def batch_size(config: TrainConfig, length: int) -> int:
    return max(1, config.batch_tokens // length)


def collate(group: list[Encoded], length: int, side: int) -> Batch:
    """Pad on the right; with causal attention nothing before the padding can see it."""
    import torch

    ids = torch.full((len(group), length), STOP_TOKEN_ID)
    weights = torch.zeros((len(group), length))
    for row, encoded in enumerate(group):
        ids[row, : len(encoded.ids)] = torch.tensor(encoded.ids)
        weights[row, : len(encoded.weights)] = torch.tensor(encoded.weights)
    names = [name for encoded in group for name in encoded.pictures]
    pixels = torch.stack([noise(name, side) for name in names]) if names else None
    return Batch(ids, weights, pixels)


def noise(name: str, side: int) -> Any:
    """A normalised picture [3, side, side] that depends on its name alone: coarse random patches."""
    import torch

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    coarse = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="nearest")[0]
