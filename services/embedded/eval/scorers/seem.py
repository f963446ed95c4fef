"""What is like the example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import PROMPT, RIGHT, with_masks, with_title
from services.embedded.eval.measures import mask_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.skills.seem import SeemArgs

FOUND_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Pair:
    """A concept, a scene in which it is marked, and another in which it is to be found."""

    concept: str
    example: Rendered
    scene: Rendered


class SeemScorer(Scorer):
    """A concept is marked in one scene and to be found in another, all concepts in turn; the two may differ in style,
    colour, size and background. mIoU is the mean overlap with all of the concept's visible pixels. Each case shows the
    example and what was found.
    """

    skill = "seem"

    def score(self, skills: Asks, split: Split) -> Score:
        pairs = pairs_of(split.scenes, len(split.scenes), split.rng())
        results = skills.ask(self.skill, map(_call, pairs), len(pairs))
        masks = [
            result.masks_rle[0].to_array() if result.masks_rle else np.zeros(pair.scene.instances.shape, np.bool_)
            for pair, result in zip(pairs, results, strict=True)
        ]
        overlaps = [
            mask_iou(mask, concept_mask(pair.scene, pair.concept)) for pair, mask in zip(pairs, masks, strict=True)
        ]
        return Score(
            figures={"miou": mean(overlaps), "found": mean(value >= FOUND_IOU for value in overlaps)},
            counts={"pairs": len(pairs)},
            examples=[_example(*case) for case in zip(pairs, masks, overlaps, strict=True)],
        )

    def call(self, drawn: Rendered) -> SkillCall[SeemArgs]:
        return _call(Pair(drawn.objects[0].concept, drawn, drawn))


def pairs_of(scenes: Sequence[Rendered], count: int, rng: np.random.Generator) -> list[Pair]:
    """Pairs of different scenes that share a concept, all concepts in turn."""
    with_concept: dict[str, list[int]] = {}
    for index, drawn in enumerate(scenes):
        for concept in {item.concept for item in drawn.objects}:
            with_concept.setdefault(concept, []).append(index)
    order = [name for name in NAMES if len(with_concept.get(name, ())) > 1]
    pairs = []
    for number in range(count if order else 0):
        concept = order[number % len(order)]
        one, other = rng.choice(with_concept[concept], 2, replace=False).tolist()
        pairs.append(Pair(concept, scenes[one], scenes[other]))
    return pairs


def concept_mask(drawn: Rendered, concept: str) -> NDArray[np.bool_]:
    """Where a scene shows a concept."""
    members = [index + 1 for index, item in enumerate(drawn.objects) if item.concept == concept]
    found: NDArray[np.bool_] = np.isin(drawn.instances, members)
    return found


def _call(pair: Pair) -> SkillCall[SeemArgs]:
    marked = Image.fromarray(concept_mask(pair.example, pair.concept)).convert("RGB")
    pictures = {
        Symbol.IMAGE: picture(pair.scene),
        Symbol.REFERENCE_IMAGE: picture(pair.example),
        Symbol.REFERENCE_MASK: marked,
    }
    return SkillCall(SeemArgs(), pictures)


def _example(pair: Pair, mask: NDArray[np.bool_], overlap: float) -> Example:
    def panels() -> list[Image.Image]:
        marked = with_masks(picture(pair.example), [(concept_mask(pair.example, pair.concept), "", PROMPT)])
        found = with_masks(picture(pair.scene), [(mask, "", RIGHT)])
        return [with_title(marked, "example"), with_title(found, "found")]

    return Example(overlap, [f"{pair.concept}: IoU {overlap:.2f}"], panels)


SCORER = SeemScorer
