"""Wishes late in a conversation: for another tool than the last one, after talk, the same for another thing; and
questions that the results answer which are there already."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from planner.data.answers import percent
from planner.data.desk import ANSWERED, NO_TOOL, Contents, Desk, Request
from planner.data.labels import LabelledObject, Noun, noun
from planner.data.phrasebook import Slots, Wording, read_wordings
from planner.data.results import NoResult
from planner.data.rows import knowledge
from planner.data.rows.base import Maker, call
from planner.data.rows.captions import caption
from planner.data.rows.conversation import acknowledgement, chat
from planner.data.rows.detection import where
from planner.data.rows.kinds import UNDERSTANDING
from planner.data.rows.painting import edit
from planner.data.rows.plans import PLANS, Planned
from planner.data.rows.questions import colour_question
from planner.data.rows.reading import read_whole, with_text
from planner.data.rows.semantic_segmentation import whole
from planner.data.rows.tagging import tag
from planner.data.wordings import unadorned

_TALK_MAX = 3
_ABSENT_SHARE = 0.35
"""How often what is not among the tags or classes is asked for."""


def another_tool(desk: Desk) -> None:
    """'And as a list of words?' after a caption: the picture is the same, the tool is another."""
    with_text(desk)
    first = desk.rng.choice(UNDERSTANDING)(desk)
    desk.perform(first)
    second = _wish(desk, "follow_other")
    if second.actions[0].API_name == first.actions[0].API_name:
        raise NoResult("the same tool was called before")
    desk.perform(second)


def after_talk(desk: Desk) -> None:
    """A wish after some turns of plain talk; the picture comes with the first of them or with the wish."""
    with_text(desk)
    shown = desk.rng.random() < 0.5
    for _ in range(desk.rng.randint(1, _TALK_MAX)):
        talk = desk.rng.choice((chat, chat, acknowledgement))(desk)
        desk.perform(replace(talk, needs_picture=shown), show=shown)
    desk.perform(_wish(desk, "follow_late"))


def _wish(desk: Desk, wordings: str) -> Request:
    wording, slots = desk.book.deal(wordings, lambda: read_wordings(wordings, kinds=True)), desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    action, thoughts, answer = _planned(desk, wording, text, slots, nouns)
    return Request(text, (action,), thoughts, answer)


def _planned(desk: Desk, wording: Wording, text: str, slots: Slots, nouns: Sequence[Noun]) -> Planned:
    if wording.kind != "look":
        return PLANS[wording.kind](slots, nouns)
    # Labels do not answer such a question: the conversation ends with the call.
    desk.choice_only = True
    prompt = slots.fill(wording.argument) if wording.argument else unadorned(text)
    return call("blip2", prompt=prompt), "Look.", lambda got: str(got[0]["caption"])


def the_same_elsewhere(desk: Desk) -> None:
    """'And the cat?' after a look-up, a question for a colour or a change."""
    desk.rng.choice((_look_up_too, _colour_too, _edit_too))(desk)


def _look_up_too(desk: Desk) -> None:
    first = knowledge.look_up(desk)
    if "query" not in first.actions[0].API_params:
        raise NoResult("the look-up names nothing")
    desk.perform(first)
    text, other = _other_thing(desk, first, desk.picture.objects)
    _again(desk, first, Request(text, (call(knowledge.SKILL, query=other.name),), first.thoughts, knowledge.answer))


def _colour_too(desk: Desk) -> None:
    first = colour_question(desk)
    desk.perform(first)
    text, other = _other_thing(desk, first, [item for item in desk.picture.lone() if item.colour])
    action = call("blip2", prompt=f"what color is the {other.name}?")

    def answer(got: Contents) -> str:
        return f"The {other.name} is {got[0]['caption']}."

    _again(desk, first, Request(text, (action,), first.thoughts, answer))


def _edit_too(desk: Desk) -> None:
    first = edit(desk)
    prompt = str(first.actions[0].API_params["prompt"])
    named = [one.name for one in desk.vocabulary.nouns if re.search(rf"\bthe {re.escape(one.name)}\b", prompt)]
    if not named:
        raise NoResult("the change is not to one named thing")
    desk.perform(first)
    text, other = _other_thing(desk, first, desk.picture.objects)
    prompt = prompt.replace(max(named, key=len), other.name)
    action = call("instruct_pix2pix", prompt=prompt)
    _again(desk, first, Request(text, (action,), first.thoughts, lambda got: f"Done: {prompt}."))


def _again(desk: Desk, first: Request, second: Request) -> None:
    if second.actions == first.actions:
        raise NoResult("the same thing is named again")
    desk.perform(second)


def _other_thing(desk: Desk, first: Request, items: Sequence[LabelledObject]) -> tuple[str, Noun]:
    """Words that name another of `items` than the first request, and the thing."""
    before = " ".join(str(value) for value in first.actions[0].API_params.values())
    others = [item for item in items if item.noun.name not in before]
    if not others:
        raise NoResult("the picture has no other thing to ask about")
    wording, slots = desk.book.deal("follow_same"), desk.slots(others)
    text = slots.spoken(wording.text)
    names = slots.fill(wording.argument) if wording.argument else " . ".join(slots.asked)
    for one in slots.nouns:
        if one.name == names:
            return text, one
    raise NoResult("several things are named, where one can be asked about")


def known_already(desk: Desk) -> None:
    """A question whose answer stands in the results: no call."""
    kind = desk.rng.choice(tuple(_KNOWN))
    first = desk.rng.choice(_KNOWN[kind])(desk)
    desk.ask(first)
    got = desk.run(first)
    said = first.answer(got)
    desk.say(said, ANSWERED)
    wording, slots = desk.book.of_kind("follow_known", kind), desk.slots([])
    told = _TOLD[kind](desk, slots, got) if kind in _TOLD else said
    desk.perform(Request(slots.spoken(wording.text), (), NO_TOOL, lambda got: told))


_KNOWN: Final[Mapping[str, Sequence[Maker]]] = {
    "again": UNDERSTANDING,
    "again caption": (caption,),
    "again tags": (tag,),
    "again read": (read_whole,),
    "again where": (where,),
    "again facts": (knowledge.look_up,),
    "listed": (tag,),
    "length": (tag,),
    "share": (whole,),
    "largest": (whole,),
}
"""What was asked for before each kind of question."""


def _listed(desk: Desk, slots: Slots, got: Contents) -> str:
    """Whether a thing is among the tags."""
    tags = _tags(got)
    present = [one for one in desk.vocabulary.nouns if one.name in tags]
    absent = [one for one in desk.vocabulary.nouns if one.name not in tags]
    asked = _one_of(desk, present, absent)
    slots.nouns = [asked]
    return f"Yes, {asked.one} is among them." if asked.name in tags else f"No, {asked.one} is not among them."


def _length(desk: Desk, slots: Slots, got: Contents) -> str:
    return f"{len(_tags(got))}."


def _share(desk: Desk, slots: Slots, got: Contents) -> str:
    """How much of the picture a class takes."""
    labels: Mapping[str, float] = dict(got[0]["labels"])
    absent = [one for one in desk.vocabulary.nouns if one.name not in labels]
    asked = _one_of(desk, [noun(name) for name in labels], absent)
    slots.nouns = [asked]
    return f"{asked.name}: {percent(labels[asked.name])}." if asked.name in labels else f"The map has no {asked.name}."


def _largest(desk: Desk, slots: Slots, got: Contents) -> str:
    labels: Mapping[str, float] = dict(got[0]["labels"])
    if not labels:
        raise NoResult("the map has no classes")
    most = max(labels, key=lambda name: labels[name])
    return f"{most}, {percent(labels[most])}."


def _one_of(desk: Desk, present: Sequence[Noun], absent: Sequence[Noun]) -> Noun:
    if not present:
        raise NoResult("nothing was found that could be asked for")
    return desk.rng.choice(absent if absent and desk.rng.random() < _ABSENT_SHARE else present)


def _tags(got: Contents) -> list[str]:
    tags = got[0]["tags"]
    return [one.strip() for one in (re.split(r"[,|]", tags) if isinstance(tags, str) else tags)]


_TOLD: Final[Mapping[str, Callable[[Desk, Slots, Contents], str]]] = {
    "listed": _listed,
    "length": _length,
    "share": _share,
    "largest": _largest,
}
"""Answers that are drawn from a result; other kinds repeat what was said."""
