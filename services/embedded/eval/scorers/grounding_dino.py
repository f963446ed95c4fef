"""Boxes of everything in the picture."""

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
from services.embedded.eval.drawing import MISSED, RIGHT, WRONG, with_boxes
from services.embedded.eval.measures import Tally, f1
from services.embedded.eval.scorer import Asks, Example, Score, Scorer, Table
from services.embedded.eval.splits import Split, picture
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.skills.grounding_dino import GroundingDinoArgs

LEAST_SCORE = 0.05
"""Detections that score less move the average precision no more."""
_HARDEST = 8


class GroundingDinoScorer(Scorer):
    """Every scene is asked for all 122 concepts, in three prompts. mAP@0.5 is COCO's average precision at an IoU of
    0.5 (pycocotools), averaged over the concepts. Precision and recall are at the skill's default threshold, 0.3: what
    a person sees. In the pictures green boxes are right, red ones wrong, and yellow ones were missed.
    """

    skill = "grounding_dino"

    def score(self, skills: Asks, split: Split) -> Score:
        found = everything(skills, [picture(drawn) for drawn in split.scenes], LEAST_SCORE)
        wanted = wanted_instances(split.scenes)
        precision, by_concept = average_precision(wanted, found_instances(found), NAMES, len(split.scenes), "bbox")
        shown = [[item for item in mine if item.score >= SHOWN] for mine in found]
        hits = [matches(mine, drawn) for mine, drawn in zip(shown, split.scenes, strict=True)]
        tally = Tally(
            right=sum(hit is not None for mine in hits for hit in mine),
            found=sum(map(len, shown)),
            wanted=len(wanted),
        )
        hardest = sorted(by_concept.items(), key=lambda entry: entry[1])[:_HARDEST]
        return Score(
            figures={"map50": precision, "precision": tally.precision, "recall": tally.recall},
            counts={"scenes": len(split.scenes), "objects": len(wanted)},
            examples=list(map(_example, split.scenes, shown, hits)),
            tables=[
                Table("Hardest concepts", ("concept", "AP@0.5"), [(name, f"{value:.2f}") for name, value in hardest])
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[GroundingDinoArgs]:
        return SkillCall(GroundingDinoArgs(caption=caption_of(drawn)), {Symbol.IMAGE: picture(drawn)})


def caption_of(drawn: Rendered) -> str:
    """What a person who sees the picture asks for."""
    return " . ".join(dict.fromkeys(item.concept for item in drawn.objects)) or "dog"


def _example(drawn: Rendered, found: Sequence[Found], hits: Sequence[int | None]) -> Example:
    missed = [item for index, item in enumerate(drawn.objects) if index not in hits]
    right = len(drawn.objects) - len(missed)

    def panels() -> list[Image.Image]:
        boxes = [
            (item.box, f"{item.phrase} {item.score:.2f}", WRONG if hit is None else RIGHT)
            for item, hit in zip(found, hits, strict=True)
        ]
        return [with_boxes(picture(drawn), [*((item.box, item.concept, MISSED) for item in missed), *boxes])]

    caption = [f"{right} of {len(drawn.objects)} found, {len(found) - right} wrong"]
    return Example(f1(right, len(found), len(drawn.objects)), caption, panels)


SCORER = GroundingDinoScorer
