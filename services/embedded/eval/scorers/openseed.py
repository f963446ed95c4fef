"""What every pixel belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval.drawing import with_masks, with_title
from services.embedded.eval.measures import mean
from services.embedded.eval.scorer import Asks, Example, Score, Scorer, Table
from services.embedded.eval.splits import Split, picture
from services.embedded.training.segments import CLASSES, ClassIoU, class_map
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.models.palette import NO_CLASS, paint, palette
from services.skills.openseed import OpenSeedArgs

_HARDEST = 8
_NAMED_PIXELS_MIN = 500
"""Smaller regions of a shown map get no name."""


class OpenSeedScorer(Scorer):
    """The class of every pixel: 122 concepts and 9 backgrounds. mIoU is the mean over classes of intersection over
    union, pixels counted over all scenes. Each case shows the picture and the map; wrong pixels are black.
    """

    skill = "openseed"

    def score(self, skills: Asks, split: Split) -> Score:
        results = skills.ask(self.skill, map(self.call, split.scenes), len(split.scenes))
        whole = ClassIoU(len(CLASSES))
        examples = []
        for drawn, result in zip(split.scenes, results, strict=True):
            found, wanted = ids_of(result), class_map(drawn, drawn.instances)
            whole.add(found, wanted)
            examples.append(_example(drawn, found, wanted))
        by_class = whole.by_class()
        known = [index for index in np.argsort(by_class).tolist() if not np.isnan(by_class[index])]
        return Score(
            figures={"miou": whole.mean(), "objects": mean(by_class[index] for index in known if index < len(NAMES))},
            counts={"scenes": len(split.scenes)},
            examples=examples,
            tables=[
                Table(
                    "Hardest classes",
                    ("class", "IoU"),
                    [(CLASSES[index], f"{by_class[index]:.2f}") for index in known[:_HARDEST]],
                )
            ],
        )

    def call(self, drawn: Rendered) -> SkillCall[OpenSeedArgs]:
        return SkillCall(OpenSeedArgs(), {Symbol.IMAGE: picture(drawn)})


def ids_of(result: Any) -> NDArray[np.int64]:
    """The map in a result as ids of `CLASSES`; classes that the embedded world lacks become `NO_CLASS`."""
    pixels = np.asarray(result.image_seg)
    ids = np.full(pixels.shape[:2], NO_CLASS, np.int64)
    for label in result.labels:
        if label.name in CLASSES:
            ids[(pixels == label.colour).all(-1)] = CLASSES.index(label.name)
    return ids


def named_map(ids: NDArray[Any], title: str = "") -> Image.Image:
    """A map in its colours, with the names of its larger classes."""
    shown = Image.fromarray(paint(ids, len(CLASSES)))
    large = [int(index) for index in np.unique(ids) if index != NO_CLASS and (ids == index).sum() >= _NAMED_PIXELS_MIN]
    colours = palette(len(CLASSES))
    named = with_masks(shown, [(ids == index, CLASSES[index], _dark(colours[index])) for index in large])
    return with_title(named, title)


def _dark(colour: NDArray[np.uint8]) -> tuple[int, int, int]:
    """A colour on which white letters can be read."""
    red, green, blue = (colour // 2).tolist()
    return red, green, blue


def _example(drawn: Rendered, found: NDArray[np.int64], wanted: NDArray[np.uint8]) -> Example:
    iou = ClassIoU(len(CLASSES))
    iou.add(found, wanted)
    overlap = iou.mean()

    def panels() -> list[Image.Image]:
        shown = np.array(named_map(found))
        shown[found != wanted] = 0
        return [picture(drawn), Image.fromarray(shown)]

    wrong = sorted({CLASSES[index] for index in np.unique(wanted)} - {CLASSES[i] for i in np.unique(found) if i >= 0})
    caption = [f"mIoU {overlap:.2f}", f"not found: {', '.join(wrong)}" if wrong else ""]
    return Example(overlap, caption, panels)


SCORER = OpenSeedScorer
