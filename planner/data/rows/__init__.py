"""The rows of the paper's Table 2 and those that a planner needs besides, one module a family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from planner.data.rows import captions, conversation, missing, mixed, remarks, troubles
from planner.data.rows.base import Row
from planner.data.rows.calling import CALLING

ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        row.name: row
        for row in (
            *CALLING,
            *mixed.ROWS,
            conversation.CHAT,
            conversation.IMPOSSIBLE,
            conversation.NO_PICTURE,
            conversation.NOTHING_MARKED,
            missing.ROW,
            remarks.ROW,
            captions.PLAIN,
            *troubles.ROWS,
        )
    }
)
"""All rows by name."""

__all__ = ["ROWS", "Row"]
