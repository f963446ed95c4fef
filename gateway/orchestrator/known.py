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
        calls: which call gave each of them, as the lineage of a picture has it.
    """

    symbols: Mapping[Symbol, str] = field(default_factory=dict)
    results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    calls: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    marks: Marks = field(default_factory=Marks)


def newest_records(session: Session) -> dict[str, dict[str, Any]]:
    """The record of each skill's newest result in a session's turns, with its `request_id`."""
    return {
        str(record["skill"]): record | {"request_id": turn.request_id}
        for turn in session.turns
        for step in turn.steps
        for record in step.results
        if isinstance(record.get("result"), dict)
    }


def call_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the call itself."""
    return {name: record[name] for name in ("skill", "checkpoint", "args", "images", "request_id") if name in record}
