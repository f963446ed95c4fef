"""Masks of objects from boxes and from points."""

from __future__ import annotations

from typing import Any

from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import SHADES, centre, with_masks, with_points
from services.embedded.eval.measures import mask_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.world.render import Rendered
from services.skills.sam import SamArgs


class SamScorer(Scorer):
    """Every object's exact box, and the point of it that is furthest from its edge, is given. mIoU is the mean overlap
    of the mask that comes back with the object's visible pixels. Each case shows masks from boxes, then from points.
    """

    skill = "sam"

    def score(self, skills: Asks, split: Split) -> Score:
        scenes = [drawn for drawn in split.scenes if drawn.objects]
        by_box = skills.ask(self.skill, (self.call(drawn) for drawn in scenes), len(scenes))
        by_point = skills.ask(self.skill, (_at_points(drawn) for drawn in scenes), len(scenes))
        from_boxes = [overlaps(result, drawn) for result, drawn in zip(by_box, scenes, strict=True)]
        from_points = [overlaps(result, drawn) for result, drawn in zip(by_point, scenes, strict=True)]
        return Score(
            figures={
                "miou_boxes": mean(value for mine in from_boxes for value in mine),
                "miou_point": mean(value for mine in from_points for value in mine),
            },
            counts={"scenes": len(scenes), "objects": sum(map(len, from_boxes))},
            examples=[
                _example(drawn, *results, mean(boxed), mean(pointed))
                for drawn, results, boxed, pointed in zip(
                    scenes, zip(by_box, by_point, strict=True), from_boxes, from_points, strict=True
                )
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[SamArgs]:
        args = SamArgs(boxes=tuple(item.box for item in drawn.objects))
        return SkillCall(args, {Symbol.IMAGE: picture(drawn)})


def points_of(drawn: Rendered) -> list[tuple[float, float]]:
    """The innermost point of each object, xy in 0..1."""
    height, width = drawn.instances.shape
    places = [centre(drawn.mask(index)) for index in range(len(drawn.objects))]
    return [((x + 0.5) / width, (y + 0.5) / height) for x, y in places]


def overlaps(result: Any, drawn: Rendered) -> list[float]:
    """How well each object's mask fits."""
    wanted = (drawn.mask(index) for index in range(len(drawn.objects)))
    return [mask_iou(code.to_array(), mask) for code, mask in zip(result.masks_rle, wanted, strict=True)]


def _at_points(drawn: Rendered) -> SkillCall[SamArgs]:
    args = SamArgs(points=tuple((point,) for point in points_of(drawn)))
    return SkillCall(args, {Symbol.IMAGE: picture(drawn)})


def _example(drawn: Rendered, by_box: Any, by_point: Any, boxed: float, pointed: float) -> Example:
    def panels() -> list[Image.Image]:
        both = [_drawn(drawn, result) for result in (by_box, by_point)]
        return [both[0], with_points(both[1], points_of(drawn))]

    return Example(min(boxed, pointed), [f"mIoU {boxed:.2f} from boxes, {pointed:.2f} from points"], panels)


def _drawn(drawn: Rendered, result: Any) -> Image.Image:
    masks = [(code.to_array(), "", SHADES[index % len(SHADES)]) for index, code in enumerate(result.masks_rle)]
    return with_masks(picture(drawn), masks)


SCORER = SamScorer
