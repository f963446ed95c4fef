"""Near-duplicate texts by MinHash (Broder 1997) over runs of four letters."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BANDS: Final = 10
_ROWS: Final = 3
_RUN: Final = 4
_PRIME: Final = (1 << 31) - 1
_BUCKET_MAX: Final = 60
"""Of a bucket with more members only the first are compared with each other."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts that are alike, by their positions; `likeness` is the share of runs of letters that both have."""

    first: int
    second: int
    likeness: float


def near_duplicates(texts: Sequence[str], others: Sequence[str] | None = None, *, likeness: float = 0.8) -> list[Pair]:
    """Pairs of texts of one list that are alike, or, with `others`, of one of each list.

    Args:
        texts: normalised, see `planner.data.validation.normalised_request`.
        likeness: least Jaccard likeness of their sets of runs of letters. Near it some pairs are missed.
    """
    everything = [*texts, *(others or ())]
    shingles = [_shingles(text) for text in everything]
    found: dict[tuple[int, int], float] = {}
    for one, other in _candidates([_signature(each) for each in shingles], len(texts), others is not None):
        if (one, other) not in found:
            alike = len(shingles[one] & shingles[other]) / len(shingles[one] | shingles[other])
            if alike >= likeness:
                found[one, other] = alike
    shift = len(texts) if others is not None else 0
    return [Pair(one, other - shift, alike) for (one, other), alike in sorted(found.items())]


def _shingles(text: str) -> frozenset[int]:
    padded = f" {text} "
    runs = range(max(len(padded) - _RUN + 1, 1))
    return frozenset(zlib.crc32(padded[start : start + _RUN].encode()) % _PRIME for start in runs)


def _signature(shingles: Iterable[int]) -> NDArray[np.int64]:
    values = np.fromiter(shingles, dtype=np.int64)
    hashed: NDArray[np.int64] = ((values[:, None] * _FACTORS + _OFFSETS) % _PRIME).min(axis=0)
    return hashed


def _candidates(signatures: Sequence[NDArray[np.int64]], own: int, across: bool) -> Iterable[tuple[int, int]]:
    for band in range(_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for number, signature in enumerate(signatures):
            buckets[signature[band * _ROWS : (band + 1) * _ROWS].tobytes()].append(number)
        for members in buckets.values():
            ours = [number for number in members if number < own][:_BUCKET_MAX]
            theirs = [number for number in members if number >= own] if across else ours
            for one in ours:
                yield from ((one, other) for other in theirs if other > one)


_DRAWN = np.random.default_rng(20_231_105)
_FACTORS: Final = _DRAWN.integers(1, _PRIME, _BANDS * _ROWS)
_OFFSETS: Final = _DRAWN.integers(0, _PRIME, _BANDS * _ROWS)
