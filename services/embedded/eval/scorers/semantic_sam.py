"""Masks of parts, objects and groups from one point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import SHADES, centre, with_masks, with_points, with_title
from services.embedded.eval.measures import mask_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.world.render import Rendered
from services.skills.semantic_sam import SemanticSamArgs

LEVELS = ("part", "object", "group")
PART_PIXELS_MIN = 60
"""Smaller parts are not asked for, at 256 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Click:
    """A point (xy in 0..1) on one object, and the different masks that it may mean."""

    point: tuple[float, float]
    masks: Mapping[str, NDArray[np.bool_]]


class SemanticSamScorer(Scorer):
    """One point on each object, inside a part of it drawn by lot. For the part (regions of like colour), the object,
    and its group (several of one concept side by side) the best overlap among the masks that come back counts; what is
    the same mask on two levels counts once. The cases show the best mask for each level of one object.
    """

    skill = "semantic_sam"

    def score(self, skills: Asks, split: Split) -> Score:
        asked = [(drawn, clicks_on(drawn, split.rng(index))) for index, drawn in enumerate(split.scenes)]
        asked = [(drawn, clicks) for drawn, clicks in asked if clicks]
        results = skills.ask(self.skill, (_call(*pair) for pair in asked), len(asked))
        found: dict[str, list[float]] = {level: [] for level in LEVELS}
        examples = []
        for (drawn, clicks), result in zip(asked, results, strict=True):
            best = [best_of(levels, click) for levels, click in zip(result.levels, clicks, strict=True)]
            for mine in best:
                for level, (overlap, _) in mine.items():
                    found[level].append(overlap)
            examples += [_example(drawn, click, mine) for click, mine in zip(clicks, best, strict=True)]
        every = [value for values in found.values() for value in values]
        return Score(
            figures={"miou": mean(every)} | {level: mean(values) for level, values in found.items()},
            counts={"scenes": len(asked), "masks": len(every)},
            examples=examples,
        )

    def call(self, drawn: Rendered) -> SkillCall[SemanticSamArgs]:
        return _call(drawn, clicks_on(drawn, np.random.default_rng(0))[:1])


def clicks_on(drawn: Rendered, rng: np.random.Generator) -> list[Click]:
    """One click on each object."""
    return [_click(drawn, index, rng) for index in range(len(drawn.objects))]


def _click(drawn: Rendered, index: int, rng: np.random.Generator) -> Click:
    whole = drawn.mask(index)
    parts = [part for part in drawn.part_masks(index) if part.sum() >= PART_PIXELS_MIN]
    masks = {"object": whole}
    aimed = whole
    if parts:
        aimed = parts[int(rng.integers(len(parts)))]
        if not np.array_equal(aimed, whole):
            masks["part"] = aimed
    group = drawn.group_mask(index)
    if not np.array_equal(group, whole):
        masks["group"] = group
    x, y = centre(aimed)
    return Click(((x + 0.5) / whole.shape[1], (y + 0.5) / whole.shape[0]), masks)


def best_of(levels: Any, click: Click) -> dict[str, tuple[float, NDArray[np.bool_]]]:
    """For each level that a click may mean the best overlap, and the mask that has it."""
    given = [code.to_array() for code in levels.masks_rle]
    return {
        level: max(((mask_iou(mask, wanted), mask) for mask in given), key=lambda pair: pair[0])
        for level, wanted in click.masks.items()
    }


def _call(drawn: Rendered, clicks: list[Click]) -> SkillCall[SemanticSamArgs]:
    args = SemanticSamArgs(point=tuple(click.point for click in clicks))
    return SkillCall(args, {Symbol.IMAGE: picture(drawn)})


def _example(drawn: Rendered, click: Click, best: dict[str, tuple[float, NDArray[np.bool_]]]) -> Example:
    levels = [level for level in LEVELS if level in best]

    def panels() -> list[Image.Image]:
        shown = picture(drawn)
        # The two levels that are furthest apart; a lone object without parts has but one.
        ends = (levels[0], levels[-1])
        return [
            with_title(
                with_points(with_masks(shown, [(best[level][1], "", SHADES[LEVELS.index(level)])]), [click.point]),
                level,
            )
            for level in ends
        ]

    caption = ", ".join(f"{level} {best[level][0]:.2f}" for level in levels)
    return Example(mean(overlap for overlap, _ in best.values()), [f"best IoU: {caption}"], panels)


SCORER = SemanticSamScorer
