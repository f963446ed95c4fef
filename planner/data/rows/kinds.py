"""All makers of requests by what they are about, for the rows that combine them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from planner.data.desk import Desk, Request
from planner.data.rows import (
    captions,
    detection,
    instance_segmentation,
    interactive,
    knowledge,
    painting,
    questions,
    reading,
    semantic_segmentation,
    tagging,
)
from planner.data.rows.base import Maker

NAMED: Final[tuple[Maker, ...]] = (
    detection.detect,
    detection.where,
    detection.count,
    instance_segmentation.segment,
)
"""About named things: a short "and the {noun}?" may follow."""

UNDERSTANDING: Final[tuple[Maker, ...]] = (
    *NAMED,
    semantic_segmentation.whole,
    captions.caption,
    captions.grounded,
    tagging.tag,
    tagging.locate_all,
    questions.question,
)
"""What Table 2's mixed row is made of."""

SEVERAL: Final[tuple[Maker, ...]] = (
    *UNDERSTANDING,
    questions.question,
    reading.read_whole,
    knowledge.look_up,
    painting.generate,
    painting.edit,
)
"""What can be wished for together in one message."""

MARKED: Final[tuple[Maker, ...]] = (
    interactive.segment_marked,
    interactive.segment_levels,
    painting.inpaint_marked,
)
"""About what a person marked."""

EVERY: Final[tuple[Maker, ...]] = (
    *SEVERAL,
    *MARKED,
    painting.along_layout,
)


def fitting(desk: Desk, fits: Callable[[Request], bool], makers: Sequence[Maker] = EVERY) -> Request:
    """A request of any kind that fits."""
    while True:
        request: Request = desk.rng.choice(makers)(desk)
        if fits(request):
            return request
