"""Batches of a plan as tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.conversation import Observation
from planner.train.config import ConfigError, TrainConfig
from planner.train.encode import Encoded, Encoder
from planner.train.pictures import Pictures
from planner.train.plan import Batch, Row, plan
from planner.train.samples import Loaded, adapted, caption, conversation
from services.core.spec import SkillSpec

IGNORED = -100
Tensors = dict[str, Any]


class PlannedBatches:
    """A map-style data set whose items are whole batches, in the plan's order.

    Args:
        specs: the skills by name, for samples that say which tools their prompt lists.
        pad_id: the token that fills rows up.
        always_picture: give a batch without a picture an empty one that nothing looks at; where several devices share
            a model's parameters, all must run the same modules.

    Attributes:
        left_out: how many samples are too long, or have nothing to learn from.

    Raises:
        ConfigError: a sample is not in its form, names a skill that there is not, or pictures are missing: all are
            looked for before the first step, since a long run would break off where the first is wanted.
    """

    def __init__(
        self,
        config: TrainConfig,
        loaded: Sequence[Loaded],
        encoder: Encoder,
        pictures: Pictures,
        specs: Mapping[str, SkillSpec],
        known: Mapping[str, Sequence[Observation]],
        *,
        pad_id: int,
        image_id: int,
        picture_tokens: int,
        always_picture: bool = False,
    ) -> None:
        self._config = config
        self._loaded = loaded
        self._encoder = encoder
        self._pictures = pictures
        self._specs = specs
        self._known = known
        self._pad_id = pad_id
        self._blank_row = [image_id] * picture_tokens if always_picture else []
        lengths = self._lengths()
        self.plan = plan(lengths, config)
        self.left_out = sum(not 0 < length <= max(config.lengths) for length in lengths)

    def __len__(self) -> int:
        return len(self.plan)

    def _lengths(self) -> list[int]:
        """Tokens of each sample."""
        lengths: list[int] = []
        missing: dict[Path, None] = {}
        for number, loaded in enumerate(self._loaded):
            sample = self.encoded(number)
            lengths.append(len(sample.ids))
            if 0 < len(sample.ids) <= max(self._config.lengths):
                gone = (name for name in sample.pictures if not self._pictures.there(name, loaded.images))
                missing |= {(loaded.images or Path()) / name: None for name in gone}
        if missing:
            raise ConfigError(
                f"data: {len(missing)} pictures are not there, such as {next(iter(missing))}: see `images`."
            )
        return lengths

    def _spec(self, name: str) -> SkillSpec:
        if name not in self._specs:
            raise ConfigError(f"There is no skill {name!r}. Known: {', '.join(sorted(self._specs))}.")
        return self._specs[name]

    def __getitem__(self, index: int) -> Tensors:
        return self.tensors(self.plan[index])

    def encoded(self, number: int) -> Encoded:
        """One sample; a conversation in which nothing is left to learn comes out without tokens, and so does one about
        missing tools where the prompt would not say so."""
        loaded = self._loaded[number]
        if self._config.form == "caption":
            picture, text = caption(loaded.sample)
            return self._encoder.encode_caption(text, picture)
        turns, mistaken = adapted(conversation(loaded.sample), self._config, self._known, loaded.mistaken)
        if not turns or not set(loaded.without) <= set(self._config.offered):
            return Encoded([], [], [], [])
        tools = [self._spec(name) for name in self._tools(loaded)]
        cut = not loaded.whole and random.Random(f"{self._config.seed} cut {number}").random() < self._config.cut_share
        return self._encoder.encode(turns, tools, cut=cut, mistaken=mistaken)

    def _tools(self, loaded: Loaded) -> Sequence[str]:
        """Names of the tools that a sample's prompt offers."""
        if self._config.setting == "all_tools":
            return ()
        named = self._config.offered if loaded.tools is None else loaded.tools
        return [name for name in named if name not in loaded.without]

    def tensors(self, batch: Batch) -> Tensors:
        """ids, positions, labels and weights [rows, length]; pixels [pictures, 3, side, side], in reading order."""
        import torch

        rows = [self._row(row) for row in batch]
        names = [name for _, found in rows for name in found]
        filled = [row for row, _ in rows]
        pixels = [self._pictures.load(name, folder) for name, folder in names]
        if not pixels and self._blank_row:
            filled.append(_filled([self._blank()], len(filled[0]["input_ids"]), self._pad_id, packed=True))
            pixels = [self._pictures.blank()]
        tensors = {key: torch.tensor([row[key] for row in filled]) for key in filled[0]}
        return tensors | ({"pixel_values": torch.stack(pixels)} if pixels else {})

    def samples_until(self, batches: int) -> int:
        """How many samples the first `batches` hold."""
        return sum(len(row.samples) for batch in self.plan[:batches] for row in batch)

    def _row(self, row: Row) -> tuple[dict[str, list[Any]], list[tuple[str, Path | None]]]:
        parts = [self.encoded(number) for number in row.samples]
        names = [
            (name, self._loaded[number].images)
            for number, part in zip(row.samples, parts, strict=True)
            for name in part.pictures
        ]
        return _filled(parts, row.length, self._pad_id, packed=self._config.packing), names

    def _blank(self) -> Encoded:
        count = len(self._blank_row)
        return Encoded(self._blank_row, [0.0] * count, [False] * count, [])


def first_item(items: list[Tensors]) -> Tensors:
    """The collating function: an item is a batch already."""
    return items[0]


def _filled(parts: Sequence[Encoded], length: int, pad_id: int, *, packed: bool) -> dict[str, list[Any]]:
    """One row. Positions start anew with every sample (and the padding): by this attention keeps samples apart.

    A row of one sample counts on through its padding, which nothing before it can see: plain causal attention is
    faster than any mask.
    """
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    weights: list[float] = []
    choices: list[bool] = []
    for part in parts:
        ids += part.ids
        positions += range(len(part.ids))
        labels += [token if weight else IGNORED for token, weight in zip(part.ids, part.weights, strict=True)]
        weights += part.weights
        choices += part.choices
    missing = length - len(ids)
    start = 0 if packed else len(ids)
    return {
        "input_ids": ids + [pad_id] * missing,
        "position_ids": positions + list(range(start, start + missing)),
        "labels": labels + [IGNORED] * missing,
        "weights": weights + [0.0] * missing,
        "choices": choices + [False] * missing,
    }
