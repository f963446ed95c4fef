"""Masks of everything in the picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.coco import average_precision
from services.embedded.eval.detections import (
    SHOWN,
    Found,
    everything,
    found_instances,
    matches,
    wanted_instances,
)
from services.embedded.eval.drawing import SHADES, with_masks
from services.embedded.eval.measures import mask_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.scorers.grounding_dino import caption_of
from services.embedded.eval.splits import Split, picture
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.skills.grounded_sam import GroundedSamArgs

LEAST_SCORE = 0.1
"""Each detection takes a mask."""


class GroundedSamScorer(Scorer):
    """Every scene is asked for all concepts, as for grounding_dino. Mask mAP@0.5 is COCO's average precision of the
    masks at an IoU of 0.5 (pycocotools), averaged over the concepts. The pictures show what scores at least 0.3.
    """

    skill = "grounding_dino+sam"

    def score(self, skills: Asks, split: Split) -> Score:
        pictures = [picture(drawn) for drawn in split.scenes]
        found = everything(skills, pictures, LEAST_SCORE, self.skill)
        wanted = wanted_instances(split.scenes, masks=True)
        precision, _ = average_precision(wanted, found_instances(found), NAMES, len(pictures), "segm")
        return Score(
            figures={"mask_map50": precision},
            counts={"scenes": len(pictures), "objects": len(wanted)},
            examples=[_example(drawn, mine) for drawn, mine in zip(split.scenes, found, strict=True)],
        )

    def call(self, drawn: Rendered) -> SkillCall[GroundedSamArgs]:
        return SkillCall(GroundedSamArgs(caption=caption_of(drawn)), {Symbol.IMAGE: picture(drawn)})


def _example(drawn: Rendered, found: Sequence[Found]) -> Example:
    shown = [item for item in found if item.score >= SHOWN and item.mask is not None]
    hits = matches(shown, drawn)
    overlaps = [
        mask_iou(item.mask.to_array(), drawn.mask(hit))
        for item, hit in zip(shown, hits, strict=True)
        if hit is not None and item.mask is not None
    ]
    # What is not found, and what is found but not there, has no overlap.
    every = [*overlaps, *[0.0] * (len(drawn.objects) + len(shown) - 2 * len(overlaps))]

    def panels() -> list[Image.Image]:
        masks = [
            (item.mask.to_array(), item.phrase, SHADES[number % len(SHADES)])
            for number, item in enumerate(shown)
            if item.mask is not None
        ]
        return [with_masks(picture(drawn), masks)]

    missed = [item.concept for index, item in enumerate(drawn.objects) if index not in hits]
    caption = [f"mean IoU {mean(every) if every else 1.0:.2f}", f"missed: {', '.join(missed)}" if missed else ""]
    return Example(mean(every) if every else 1.0, caption, panels)


SCORER = GroundedSamScorer
