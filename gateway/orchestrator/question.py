"""The words in which the planner is asked: the person's, and what came with them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.orchestrator.events import TurnRequest
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.references import USER
from planner.conversation import Observation
from planner.prompt import compact_json, observation_line
from services.core.spec import Symbol

_GIVEN = {
    Symbol.MASK: "A mask was drawn.",
    Symbol.REFERENCE_IMAGE: "A reference picture with a mask was given.",
    Symbol.IMAGE_SEG: "A segmentation map was given.",
}


def question_text(request: TurnRequest, gallery: Gallery) -> str:
    """The message with the names of its pictures, where there are several or the client gave some, and its marks."""
    lines = [request.text]
    names = {one.handle: f"image {one.number}" + (f" ({one.name})" if one.name else "") for one in gallery.pictures}
    if len(request.images) > 1 or any(request.image_names):
        lines.append(f"Pictures: {', '.join(names[handle] for handle in request.images)}.")
    for mark, given in request.marks.given().items():
        if mark != "point_labels" or 0 in given:
            lines.append(f"Marked {mark.replace('_', ' ')} (${USER}.{mark}): {compact_json(_rounded(given))}")
    lines += [words for symbol, words in _GIVEN.items() if symbol in request.symbols]
    return "\n".join(lines)


def with_findings(question: str, observations: Sequence[Observation], chars_max: int) -> str:
    """The question after what skills found in the picture; findings that are too long together are left out."""
    lines, used = list[str](), 0
    for observation in observations:
        line = observation_line(observation)
        if used + len(line) <= chars_max:
            lines.append(line)
            used += len(line)
    return "\n".join([*lines, "", question]) if lines else question


def _rounded(given: list[object]) -> list[object]:
    return [[round(value, 2) for value in item] if isinstance(item, list) else item for item in given]
