"""The lines that the gateway adds to a question for what a person marked or gave (`gateway.orchestrator.question`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from planner.prompt import compact_json
from services.core.spec import Symbol

GIVEN: Mapping[Symbol, str] = {
    Symbol.MASK: "A mask was drawn.",
    Symbol.REFERENCE_IMAGE: "A reference picture with a mask was given.",
    Symbol.IMAGE_SEG: "A segmentation map was given.",
}


def with_marks(text: str, marks: Mapping[str, Sequence[Any]], given: Iterable[Symbol] = ()) -> str:
    """The question as a planner reads it.

    Args:
        marks: `points` [[x, y], ...], `point_labels` [1, 0, ...] and `boxes`, as the gateway's `Marks` has them.
        given: symbols that came with the message.
    """
    lines = [text]
    for mark in ("points", "point_labels", "boxes"):
        values = list(marks.get(mark, ()))
        if values and (mark != "point_labels" or 0 in values):
            shown = [[round(float(side), 2) for side in v] if isinstance(v, list | tuple) else v for v in values]
            lines.append(f"Marked {mark.replace('_', ' ')} ($user.{mark}): {compact_json(shown)}")
    present = set(given)
    lines += [words for symbol, words in GIVEN.items() if symbol in present]
    return "\n".join(lines)
