"""The rows of the paper's Table 2 and those that a planner needs besides, one module a family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from planner.data.rows import (
    captions,
    conversation,
    detection,
    instance_segmentation,
    interactive,
    knowledge,
    missing,
    mixed,
    painting,
    questions,
    reading,
    remarks,
    semantic_segmentation,
    tagging,
    two_pictures,
)
from planner.data.rows.base import Row

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        row.name: row
        for row in (
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
            *mixed.ROWS,
            questions.ROW,
            two_pictures.ROW,
            conversation.CHAT,
            conversation.IMPOSSIBLE,
            conversation.NO_PICTURE,
            conversation.NOTHING_MARKED,
            missing.ROW,
            remarks.ROW,
            captions.PLAIN,
            conversation.FAILURE,
        )
    }
)
"""All rows by name."""

__all__ = ["ROWS", "Row"]
