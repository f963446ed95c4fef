"""What a plan may refer to: results so far, pictures by name, symbols, and what the person marked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.orchestrator.gallery import Gallery
from gateway.state.models import Marks, Session
from services.core.spec import Symbol
from services.core.types import IMAGE_ID_PATTERN

_HANDLE = re.compile(IMAGE_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Known:
    """Everything there is before a plan runs.

    Attributes:
        symbols: handles by what they are for; `image` is the current picture.
        results: the newest result of each skill (canonical name), of this turn or an earlier one.
        calls: which call gave each of them, as the lineage of a picture has it.
        made_from: for each picture that a call made from another, that other one.
    """

    symbols: Mapping[Symbol, str] = field(default_factory=dict)
    results: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    calls: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    gallery: Gallery = field(default_factory=Gallery)
    marks: Marks = field(default_factory=Marks)
    made_from: Mapping[str, str] = field(default_factory=dict)

    def origin(self, handle: str) -> str:
        """The picture that this one was made from, however many calls lie between; itself where it was sent."""
        while handle in self.made_from:
            handle = self.made_from[handle]
        return handle


def made_from(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """For each picture that a call made from another, that other one.

    Args:
        records: of the calls, oldest first.
    """
    found, seen = dict[str, str](), set[str]()
    for record in records:
        images = record.get("images") or {}
        source = images.get(str(Symbol.IMAGE)) or images.get(str(Symbol.IMAGE_SEG))
        if source is None or not isinstance(record.get("result"), dict):
            continue
        seen.add(source)
        # A picture that was there before is nobody's product: so nothing comes from itself.
        made = {value for value in record["result"].values() if isinstance(value, str) and _HANDLE.fullmatch(value)}
        found |= dict.fromkeys(made - seen, source)
        seen |= made
    return found


def records_in(session: Session) -> Iterator[dict[str, Any]]:
    """The records of all calls in a session's turns, oldest first, with their `request_id`."""
    for turn in session.turns:
        for step in turn.steps:
            for record in step.results:
                yield record | {"request_id": turn.request_id}


def newest(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The record of each skill's newest result."""
    return {str(record["skill"]): record for record in records if isinstance(record.get("result"), dict)}


def call_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the call itself."""
    return {name: record[name] for name in ("skill", "checkpoint", "args", "images", "request_id") if name in record}
