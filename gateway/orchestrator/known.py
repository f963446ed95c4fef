"""What a plan may refer to: results so far, pictures by name, symbols, and what the person marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.orchestrator.gallery import Gallery
from gateway.state.models import Marks, Session
from services.core.spec import Symbol


@dataclass(frozen=True, slots=True)
class Known:
    """Everything there is before a plan runs.

    Attributes:
        symbols: handles by what they are for; `image` is the current picture.
        results: the newest result of each skill (canonical name), of this turn or an earlier one.
    """

    symbols: Mapping[Symbol, str] = field(default_factory=dict)
    results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    marks: Marks = field(default_factory=Marks)


def earlier_results(session: Session) -> dict[str, dict[str, Any]]:
    """The newest result of each skill in a session's turns."""
    return {
        str(record["skill"]): record["result"]
        for turn in session.turns
        for step in turn.steps
        for record in step.results
        if isinstance(record.get("result"), dict)
    }
