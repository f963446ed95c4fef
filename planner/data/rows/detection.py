"""Detection and grounding: boxes, places and numbers of named things, from grounding_dino."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.data.answers import BOXES_MAX, coordinates, listed, places, tally, there
from planner.data.desk import Contents, Desk, Request
from planner.data.labels import Noun, noun
from planner.data.phrasebook import Slots, Wording
from planner.data.rows.base import SingleRequest, call, captioned
from planner.format import Action

SKILL = "grounding_dino"
_IN_NUMBERS = re.compile(r"coordinate|bound|bbox|x0|corner|xyxy|\bbox (of|for)|box coord|region|numbers", re.IGNORECASE)


def asked_nouns(desk: Desk, slots: Slots, wording: Wording) -> list[Noun]:
    """The things that a filled wording is about, in its order: those of its argument where it has one."""
    names = captioned(slots, wording).split(" . ")
    by_name = {noun.name: noun for noun in slots.nouns}
    if any(name not in by_name for name in names):
        desk.ask_beyond()
    return [by_name.get(name) or noun(name) for name in names]


def thresholds(slots: Slots) -> dict[str, float]:
    """The detector's thresholds that a filled wording states; those that it leaves open are left to the skill."""
    stated = {"box_threshold": slots.values.get("threshold"), "text_threshold": slots.values.get("text_threshold")}
    if "percent" in slots.values:
        stated["box_threshold"] = f"{int(slots.values['percent']) / 100:g}"
    return {name: float(value) for name, value in stated.items() if value is not None}


def found(nouns: Sequence[Noun], got: Contents, *, numbers: bool) -> str:
    """'I found 2 dogs.', with their boxes where numbers were asked for."""
    counts = tally(nouns, got[0])
    boxes = [coordinates(box) for box in got[0]["boxes"]][:BOXES_MAX] if numbers else []
    return f"I found {listed(counts)}{': ' if boxes else ''}{', '.join(boxes)}."


def named(desk: Desk, wordings: str, skill: str) -> tuple[Wording, str, Action, list[Noun]]:
    """A wording about named things, as it is said, the call of a detector that it means, and the things."""
    wording, slots = desk.book.deal(wordings), desk.slots()
    text = slots.spoken(wording.text)
    action = call(skill, caption=captioned(slots, wording), **thresholds(slots))
    return wording, text, action, asked_nouns(desk, slots, wording)


def detect(desk: Desk) -> Request:
    wording, text, action, nouns = named(desk, "detect", SKILL)
    numbers = bool(_IN_NUMBERS.search(wording.text))
    return Request(text, (action,), "Find it.", lambda got: found(nouns, got, numbers=numbers))


def where(desk: Desk) -> Request:
    _, text, action, nouns = named(desk, "where", SKILL)
    return Request(text, (action,), "Find it.", lambda got: " ".join(places(noun, got[0]) for noun in nouns))


def count(desk: Desk) -> Request:
    _, text, action, nouns = named(desk, "count", SKILL)
    return Request(text, (action,), "Count them.", lambda got: there(nouns, got[0]))


ROW = SingleRequest("detection", "Detection and grounding", (SKILL,), ((1.0, detect), (0.7, where), (0.8, count)))
