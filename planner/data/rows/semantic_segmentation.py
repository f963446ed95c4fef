"""Semantic segmentation: a map of what every pixel belongs to, from openseed."""

from __future__ import annotations

from collections.abc import Sequence

from planner.data.answers import listed, percent
from planner.data.desk import Contents, Desk, Request
from planner.data.phrasebook import Slots
from planner.data.rows.base import SingleRequest, call

SKILL = "openseed"
_NAMED_MAX = 4


def answer(got: Contents, asked: Sequence[str] = ()) -> str:
    """The areas of the classes that were asked about, then of the largest others."""
    labels: dict[str, float] = dict(got[0]["labels"])
    if not labels:
        return "The map is ready; none of these classes is in the picture."
    named = [f"{name} {percent(labels[name])}" if name in labels else f"no {name}" for name in asked]
    others = [f"{name} {percent(area)}" for name, area in labels.items() if name not in asked]
    return f"Here is the map: {listed(named + others[: _NAMED_MAX - len(named)])}."


def whole(desk: Desk) -> Request:
    """The map of all classes, also where a share of one is asked: the checkpoint may call it by another name."""
    wording, slots = desk.book.deal("semantic"), desk.slots()
    text = slots.spoken(wording.text)
    asked = wording.argument.split(", ") if wording.argument else _classes(slots)
    return Request(text, (call(SKILL),), "Map it.", lambda got: answer(got, asked))


def of_classes(desk: Desk) -> Request:
    slots = desk.slots()
    text = slots.spoken(desk.book.deal("semantic_classes").text)
    return Request(text, (call(SKILL, classes=_classes(slots)),), "Map it.", answer)


def _classes(slots: Slots) -> list[str]:
    """What was asked about, by kind: a class has no colour."""
    colours = tuple(f"{colour} " for colour in slots.colours)
    kinds = (name.split(" ", 1)[1] if name.startswith(colours) else name for name in slots.asked)
    return list(dict.fromkeys(kinds))


ROW = SingleRequest("semantic_segmentation", "Semantic segmentation", (SKILL,), ((1.0, whole), (0.15, of_classes)))
