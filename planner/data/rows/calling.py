"""The rows that call one tool, or some that belong together, for one wish."""

from __future__ import annotations

from typing import Final

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
    two_pictures,
)
from planner.data.rows.base import Row

CALLING: Final[tuple[Row, ...]] = (
    detection.ROW,
    semantic_segmentation.ROW,
    instance_segmentation.ROW,
    captions.GROUNDED,
    tagging.GROUNDED,
    captions.ROW,
    tagging.ROW,
    reading.ROW,
    knowledge.ROW,
    painting.GENERATION,
    painting.EDITING,
    interactive.SAM,
    interactive.LEVELS,
    interactive.EXAMPLE,
    painting.INPAINTING,
    painting.LAYOUT,
    painting.GENERATION_POST,
    painting.EDITING_POST,
    questions.ROW,
    two_pictures.ROW,
)
