"""Which samples share a row and which rows a batch: decided before training, from lengths and the seed alone.

A batch is thus a function of its number: a run that was cut goes on with the very next one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.train.config import TrainConfig


@dataclass(frozen=True)
class Row:
    """Samples (their numbers) that fill one row of `length` tokens."""

    samples: tuple[int, ...]
    length: int


Batch = tuple[Row, ...]


def plan(lengths: Sequence[int], config: TrainConfig) -> list[Batch]:
    """All batches of a run.

    Args:
        lengths: tokens of each sample; empty ones and those longer than any row are left out.
    """
    fits = [number for number, length in enumerate(lengths) if 0 < length <= max(config.lengths)]
    batches: list[Batch] = []
    for epoch in range(config.epochs):
        rng = random.Random(f"{config.seed} {epoch}")
        order = rng.sample(fits, len(fits))
        waiting: dict[int, list[Row]] = {bound: [] for bound in sorted(config.lengths)}
        for start in range(0, len(order), config.pool):
            pool = order[start : start + config.pool]
            ready = list(
                _packed(pool, lengths, config, rng) if config.packing else _full(pool, lengths, config, waiting)
            )
            rng.shuffle(ready)
            batches += ready
        batches += _left(waiting, config)
    return batches


def rows_per_batch(config: TrainConfig, length: int) -> int:
    return max(1, config.batch_tokens // length)


def _full(
    pool: Sequence[int], lengths: Sequence[int], config: TrainConfig, waiting: dict[int, list[Row]]
) -> Iterator[Batch]:
    """One sample a row; samples of like length together, so that little is padding.

    What fills no batch waits for the next pool: a compiled model is compiled anew for each number of rows.
    """
    for number in pool:
        bound = next(bound for bound in waiting if lengths[number] <= bound)
        waiting[bound].append(Row((number,), bound))
        if len(waiting[bound]) == rows_per_batch(config, bound):
            yield tuple(waiting[bound])
            waiting[bound] = []


def _left(waiting: dict[int, list[Row]], config: TrainConfig) -> Iterator[Batch]:
    """What no pool filled up: in rows as long as the longest of a batch."""
    rows = [row for left in waiting.values() for row in left]
    while rows:
        bound = rows[-1].length
        count = rows_per_batch(config, bound)
        yield tuple(Row(row.samples, bound) for row in rows[-count:])
        rows = rows[:-count]


def _packed(pool: Sequence[int], lengths: Sequence[int], config: TrainConfig, rng: random.Random) -> Iterator[Batch]:
    """Several samples a row: the longest first, each into the first row with room for it."""
    (bound,) = config.lengths
    rows: list[list[int]] = []
    room: list[int] = []
    for number in sorted(pool, key=lambda number: -lengths[number]):
        place = next((index for index, free in enumerate(room) if free >= lengths[number]), None)
        if place is None:
            rows.append([])
            room.append(bound)
            place = len(rows) - 1
        rows[place].append(number)
        room[place] -= lengths[number]
    rng.shuffle(rows)
    count = rows_per_batch(config, bound)
    for start in range(0, len(rows), count):
        yield tuple(Row(tuple(row), bound) for row in rows[start : start + count])
