"""Everything that a detector finds in pictures, and how it compares with what is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import Box, MaskRLE
from services.embedded.eval.coco import Instance
from services.embedded.eval.measures import box_iou
from services.embedded.eval.scorer import Asks
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.skills.grounding_dino import GroundingDinoArgs

PROMPTS: Final = 3
"""Prompts in which all concepts are asked for: about as many names in each as in training."""
SHOWN: Final = 0.3
"""Score from which a person is shown a box: the skill's default."""
SAME: Final = 0.5
"""Overlap from which two boxes mean the same thing."""
_WHOLE_PHRASE: Final = 1.0
"""A text threshold that no word reaches: then a box is named by its best phrase alone."""


@dataclass(frozen=True, slots=True)
class Found:
    """One detection; `mask` where the skill gives masks."""

    phrase: str
    box: Box
    score: float
    mask: MaskRLE | None = None


def everything(
    skills: Asks, pictures: Sequence[Image.Image], threshold: float, skill: str = "grounding_dino"
) -> list[list[Found]]:
    """What the detector finds in each picture when all concepts are asked for, best first."""
    prompts = [list(names) for names in np.array_split(np.array(NAMES), PROMPTS)]
    return asked(skills, pictures, [prompts] * len(pictures), threshold, skill)


def asked(
    skills: Asks,
    pictures: Sequence[Image.Image],
    prompts: Sequence[Sequence[Sequence[str]]],
    threshold: float,
    skill: str = "grounding_dino",
) -> list[list[Found]]:
    """What the detector finds in each picture, asked for each of its own prompts (lists of phrases), best first."""
    owners = [index for index, mine in enumerate(prompts) for _ in mine]
    results = skills.ask(skill, _calls(pictures, prompts, threshold), len(owners))
    found: list[list[Found]] = [[] for _ in pictures]
    for owner, pairs in groupby(zip(owners, results, strict=True), key=lambda pair: pair[0]):
        for _, result in pairs:
            masks = getattr(result, "masks_rle", [None] * len(result.boxes))
            found[owner] += map(Found, result.phrases, result.boxes, result.logits, masks)
        found[owner].sort(key=lambda item: -item.score)
    return found


def _calls(
    pictures: Sequence[Image.Image], prompts: Sequence[Sequence[Sequence[str]]], threshold: float
) -> Iterator[SkillCall[GroundingDinoArgs]]:
    for shown, mine in zip(pictures, prompts, strict=True):
        for phrases in mine:
            caption = " . ".join(phrases) + " ."
            args = GroundingDinoArgs(caption=caption, box_threshold=threshold, text_threshold=_WHOLE_PHRASE)
            yield SkillCall(args, {Symbol.IMAGE: shown})


def found_instances(found: Sequence[Sequence[Found]]) -> list[Instance]:
    """Detections of concepts, for `coco`; phrases that are no concept's name are left out."""
    return [
        Instance(index, NAMES.index(item.phrase), item.box, item.mask, item.score)
        for index, mine in enumerate(found)
        for item in mine
        if item.phrase in NAMES
    ]


def wanted_instances(scenes: Sequence[Rendered], *, masks: bool = False) -> list[Instance]:
    """The objects of scenes, for `coco`."""
    return [
        Instance(
            index,
            NAMES.index(item.concept),
            item.box,
            MaskRLE.from_array(drawn.mask(number)) if masks else None,
        )
        for index, drawn in enumerate(scenes)
        for number, item in enumerate(drawn.objects)
    ]


def matches(found: Sequence[Found], drawn: Rendered) -> list[int | None]:
    """For each detection the object that it has found, each object once, best detections first; else None."""
    free = set(range(len(drawn.objects)))
    taken: list[int | None] = []
    for item in found:
        overlaps = {
            index: box_iou(item.box, drawn.objects[index].box)
            for index in sorted(free)
            if drawn.objects[index].concept == item.phrase
        }
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        hit = best if best is not None and overlaps[best] >= SAME else None
        free -= {hit}
        taken.append(hit)
    return taken


def at(found: Sequence[Found], box: Sequence[float]) -> str | None:
    """The phrase of the best detection at a place, or None."""
    return next((item.phrase for item in found if box_iou(item.box, box) >= SAME), None)
