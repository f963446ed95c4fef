"""Semantic segmentation: a map of what every pixel belongs to, from openseed."""

from __future__ import annotations

from planner.data.answers import listed, percent
from planner.data.desk import Contents, Desk, Request
from planner.data.rows.base import SingleRequest, call, wordless

SKILL = "openseed"
_NAMED_MAX = 4


def answer(got: Contents) -> str:
    labels: dict[str, float] = dict(got[0]["labels"])
    if not labels:
        return "The map is ready; none of these classes is in the picture."
    named = [f"{name} {percent(area)}" for name, area in list(labels.items())[:_NAMED_MAX]]
    return f"Here is the map: {listed(named)}."


def of_classes(desk: Desk) -> Request:
    slots = desk.slots()
    text = slots.spoken(desk.book.deal("semantic_classes").text)
    return Request(text, (call(SKILL, classes=list(slots.asked)),), "Map it.", answer)


whole = wordless("semantic", SKILL, "Map it.", answer)
ROW = SingleRequest("semantic_segmentation", "Semantic segmentation", (SKILL,), ((1.0, whole), (0.12, of_classes)))
