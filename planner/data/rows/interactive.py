"""Segmentation of what a person marks: sam, semantic_sam at several granularities, seem by an example."""

from __future__ import annotations

from typing import Any

from planner.data.desk import Contents, Desk, Request
from planner.data.phrasebook import numbers
from planner.data.results import NoResult
from planner.data.rows.base import SingleRequest, call
from planner.data.rows.painting import marked
from services.core.spec import Symbol

_WRITTEN_SHARE = 0.22


def _masks(got: Contents) -> str:
    count = len(got[0]["boxes"])
    return "Here is the mask." if count == 1 else f"Here are the {count} masks."


def _levels(got: Contents) -> str:
    count = sum(len(level["boxes"]) for level in got[0]["levels"])
    return f"Here are {count} masks, from the part to the whole." if count > 1 else "Here is the mask."


def _alike(got: Contents) -> str:
    return "I found it and cut it out." if got[0]["found"] else "I found nothing like the example."


def segment_marked(desk: Desk) -> Request:
    if desk.rng.random() < _WRITTEN_SHARE:
        return _written(desk, "sam_coordinates", "sam")
    wording = desk.book.deal("sam_marked")
    text = desk.slots().spoken(wording.text)
    marks: dict[str, list[Any]] = dict(marked(desk, wording.text))
    if "points" in marks and desk.rng.random() < 0.15:
        marks["points"].append([round(desk.rng.uniform(0.02, 0.98), 2) for _ in range(2)])
        marks["point_labels"] = [1, 0]
    return Request(text, (call("sam"),), "Mask the marked.", _masks, marks)


def segment_levels(desk: Desk) -> Request:
    if desk.rng.random() < _WRITTEN_SHARE / 2:
        return _written(desk, "levels_coordinates", "semantic_sam")
    wording = desk.book.deal("levels")
    text = desk.slots().spoken(wording.text)
    return Request(text, (call("semantic_sam"),), "Levels.", _levels, marked(desk, wording.text))


def _written(desk: Desk, wordings: str, skill: str) -> Request:
    """The place stands in the text itself."""
    wording, slots = desk.book.deal(wordings), desk.slots()
    if not desk.picture.objects:
        raise NoResult("the picture has nothing to mark")
    place = desk.rng.choice(desk.picture.objects).box
    if "{box}" in wording.text:
        slots.values["box"] = f"[{', '.join(f'{side:.2f}' for side in place)}]"
        params: dict[str, Any] = {"boxes": [numbers(slots.values["box"])]}
    else:
        form = desk.one_of("({:.2f}, {:.2f})", "[{:.2f}, {:.2f}]")
        slots.values["point"] = form.format((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        point = numbers(slots.values["point"])
        params = {"points": [[point]]} if skill == "sam" else {"point": [point]}
    text = slots.spoken(wording.text)
    answer = _masks if skill == "sam" else _levels
    thoughts = "Mask the marked." if skill == "sam" else "Levels."
    return Request(text, (call(skill, **params),), thoughts, answer)


def segment_by_example(desk: Desk) -> Request:
    text = desk.slots().spoken(desk.book.deal("example").text)
    example = desk.picture if desk.choice_only else _with_the_same(desk)
    index = 0
    if not desk.choice_only:
        names = [item.noun.name for item in desk.picture.objects]
        shared = [number for number, item in enumerate(example.objects) if item.noun.name in names]
        index = shared[0] if shared else 0
    given = (Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK)
    return Request(text, (call("seem"),), "By example.", _alike, given=given, reference=(example, index))


def _with_the_same(desk: Desk) -> Any:
    """Another picture with a thing that this one has too; after some tries one without."""
    names = {item.noun.name for item in desk.picture.objects}
    for _ in range(60):
        other = desk.others()
        if any(item.noun.name in names for item in other.objects):
            return other
    if not other.objects:
        raise NoResult("no example was found")
    return other


SAM = SingleRequest("interactive_segmentation", "Interactive segmentation", ("sam",), ((1.0, segment_marked),))
LEVELS = SingleRequest(
    "multi_granularity", "Multi-granularity segmentation", ("semantic_sam",), ((1.0, segment_levels),)
)
EXAMPLE = SingleRequest("example_segmentation", "Example-based segmentation", ("seem",), ((1.0, segment_by_example),))
