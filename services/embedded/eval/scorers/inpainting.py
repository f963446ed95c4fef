"""Things painted into holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import Box
from services.embedded.eval.detections import Found
from services.embedded.eval.drawing import PROMPT, with_boxes, with_title
from services.embedded.eval.judges import Judges
from services.embedded.eval.measures import box_iou, mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.splits import Split, picture
from services.embedded.world.concepts import SIGN
from services.embedded.world.language import counted
from services.embedded.world.render import Rendered
from services.embedded.world.scene import sample_colour, sample_concept
from services.skills.inpainting import InpaintingArgs

LEAST_AREA = 0.02
"""Part of the picture that an object must cover to be painted over."""
_MARGIN = 0.08
"""By how much of its size an object's box is made larger on each side."""
INSIDE_IOU = 0.3
"""Overlap with the hole from which a detection counts as inside: what is asked for may have another shape."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A scene, the box of an object in it that is painted over, and what is asked for instead."""

    drawn: Rendered
    box: Box
    concept: str
    colour: str | None

    @property
    def prompt(self) -> str:
        return counted(self.concept, 1, self.colour)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the hole is, [side, side]."""
        height, width = self.drawn.instances.shape
        x0, y0, x1, y1 = self.box
        mask = np.zeros((height, width), np.bool_)
        mask[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)] = True
        return mask


class InpaintingScorer(Scorer):
    """The box of an object in a held-out scene, a little larger, is painted over with another concept, drawn by lot.
    Outside is untouched where every pixel there is exactly as it was. The asked object is inside where the detector,
    asked for all concepts, gives it a score of 0.3 or more and an overlap with the hole of 0.3 or more. Each case shows
    the hole and the result.
    """

    skill = "inpainting"
    judges = ("grounding_dino",)

    def score(self, skills: Asks, split: Split) -> Score:
        holes = holes_of(split)
        calls = (_call(hole, index) for index, hole in enumerate(holes))
        painted = [result.edited_image for result in skills.ask(self.skill, calls, len(holes))]
        found = Judges(skills).detections(painted) if holes else []
        inside = [is_inside(hole, mine) for hole, mine in zip(holes, found, strict=True)]
        same = [untouched(hole, mine) for hole, mine in zip(holes, painted, strict=True)]
        return Score(
            figures={"untouched": mean(same), "inside": mean(inside)},
            counts={"pictures": len(holes)},
            examples=[_example(*case) for case in zip(holes, painted, inside, same, strict=True)],
        )

    def call(self, drawn: Rendered) -> SkillCall[InpaintingArgs]:
        return _call(Hole(drawn, (0.25, 0.25, 0.75, 0.75), "dog", None), 0)


def holes_of(split: Split) -> list[Hole]:
    """One for each scene with an object that is large enough, up to the number of pictures to paint."""
    holes: list[Hole] = []
    for index, drawn in enumerate(split.scenes):
        rng = split.rng(index)
        large = [item for item in drawn.objects if item.area >= LEAST_AREA and item.concept != SIGN]
        if not large or len(holes) >= split.painted:
            continue
        present = {item.concept for item in drawn.objects}
        while (concept := sample_concept(rng, drawn.scene.background)) in present:
            pass
        box = _grown(large[int(rng.integers(len(large)))].box)
        holes.append(Hole(drawn, box, concept, sample_colour(rng, concept)))
    return holes


def is_inside(hole: Hole, found: Sequence[Found]) -> bool:
    return any(item.phrase == hole.concept and box_iou(item.box, hole.box) >= INSIDE_IOU for item in found)


def untouched(hole: Hole, painted: Image.Image) -> bool:
    outside = ~hole.mask
    return np.array_equal(np.asarray(painted)[outside], np.asarray(hole.drawn.image)[outside])


def _grown(box: Sequence[float]) -> Box:
    x0, y0, x1, y1 = box
    across, down = _MARGIN * (x1 - x0), _MARGIN * (y1 - y0)
    return max(x0 - across, 0.0), max(y0 - down, 0.0), min(x1 + across, 1.0), min(y1 + down, 1.0)


def _call(hole: Hole, seed: int) -> SkillCall[InpaintingArgs]:
    pictures = {Symbol.IMAGE: picture(hole.drawn), Symbol.MASK: Image.fromarray(hole.mask).convert("RGB")}
    return SkillCall(InpaintingArgs(prompt=hole.prompt, seed=seed), pictures)


def _example(hole: Hole, painted: Image.Image, inside: bool, same: bool) -> Example:
    caption = [hole.prompt, "found inside" if inside else "not found inside"]
    if not same:
        caption.append("changed outside the mask")
    return Example(
        mean([inside, same]),
        caption,
        lambda: [
            with_boxes(with_title(picture(hole.drawn), "given"), [(hole.box, "", PROMPT)]),
            with_title(painted, "painted"),
        ],
    )


SCORER = InpaintingScorer
