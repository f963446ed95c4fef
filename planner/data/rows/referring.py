"""Wishes that refer back: to a thing by pronoun, to the picture that was made last, to the one that came before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from planner.data.desk import Desk, Request
from planner.data.labels import Noun
from planner.data.phrasebook import Slots, Wording, read_wordings
from planner.data.results import NoResult
from planner.data.rows.base import argument, call
from planner.data.rows.detection import count, detect, where
from planner.data.rows.instance_segmentation import segment
from planner.data.rows.knowledge import look_up
from planner.data.rows.painting import edit, generate
from planner.data.rows.plans import PLANS, Planned
from planner.data.rows.questions import colour_question

ORIGINAL: Final = "image 1"
"""How the gateway numbers the picture that came first (`gateway.orchestrator.gallery`)."""
_AFTER: Final[Mapping[str, tuple[str, ...]]] = {
    "Find it.": ("facts", "edit", "colour", "look"),
    "Count them.": ("facts", "edit", "colour", "look", "find"),
    "Cut it out.": ("facts", "edit", "colour", "look", "where", "find"),
    "Known facts.": ("find", "where", "count", "cut", "edit", "colour", "look"),
    "Look.": ("facts", "find", "where", "count", "cut", "edit"),
}
"""What may still be wished for with a thing that something was asked about, by the thoughts of that request."""
_COLOUR_OF: Final = "what color is the "
_GENERATED_SHARE = 0.35
_BOTH_SHARE = 0.4
"""How often a wish about the made picture follows one about the original."""


def by_pronoun(desk: Desk) -> None:
    """'What is known about them?' after a request that named the thing."""
    first: Request = desk.rng.choice((detect, where, count, segment, look_up, colour_question))(desk)
    noun = _named(desk, first)
    desk.perform(first)
    kind = desk.rng.choice(_AFTER[first.thoughts])
    wording, slots = desk.book.of_kind("follow_it", kind), desk.slots([])
    slots.nouns = [noun]
    text = slots.spoken(wording.text)
    # Labels do not answer an open question: the conversation ends with the call.
    desk.choice_only = desk.choice_only or kind == "look"
    planned, thoughts, answer = _planned(kind, slots, wording)
    desk.perform(Request(text, (planned,), thoughts, answer))


def _named(desk: Desk, request: Request) -> Noun:
    """The one thing that a request names: as a detector's caption, in a query, or in a question."""
    params = request.actions[0].API_params
    name = str(params.get("caption", params.get("query", params.get("prompt", ""))))
    name = name.removeprefix(_COLOUR_OF).removesuffix("?")
    noun = next((noun for noun in desk.vocabulary.nouns if noun.name == name), None)
    if noun is None:
        raise NoResult("what was named is not one kind of thing of the source")
    return noun


def _planned(kind: str, slots: Slots, wording: Wording) -> Planned:
    noun = slots.nouns[0]
    if kind == "edit":
        prompt = argument(slots, wording, "")
        return call("instruct_pix2pix", prompt=prompt), "Edit it.", lambda got: f"Done: {prompt}."
    if kind == "colour":
        asked = f"{_COLOUR_OF}{noun.name}?"
        return call("blip2", prompt=asked), "Look.", lambda got: f"The {noun.name} is {got[0]['caption']}."
    if kind == "look":
        return call("blip2", prompt=argument(slots, wording, "")), "Look.", lambda got: str(got[0]["caption"])
    return PLANS[kind](slots, [noun])


def on_another_picture(desk: Desk) -> None:
    """A wish about the picture before the one that was made, or about that one: the newest needs no name. What a made
    picture shows no label tells, so that the conversation ends with the call."""
    if desk.rng.random() < _GENERATED_SHARE:
        desk.perform(generate(desk), show=False)
        _wish(desk, "new")
        return
    desk.perform(edit(desk))
    if desk.rng.random() < _BOTH_SHARE:
        _wish(desk, "old")
        _wish(desk, "new")
    else:
        _wish(desk, desk.rng.choice(("old", "new")))


def _wish(desk: Desk, which: str) -> None:
    wording, slots = desk.book.deal(f"follow_picture {which}", lambda: _about(which)), desk.slots()
    text = slots.spoken(wording.text)
    nouns = [noun for noun in slots.nouns if noun.name in slots.asked]
    action, thoughts, answer = PLANS[wording.kind.split()[0]](slots, nouns)
    if which == "old":
        action = action.model_copy(update={"API_params": {**action.API_params, "image": ORIGINAL}})
    else:
        desk.choice_only = True
    desk.perform(Request(text, (action,), thoughts, answer), show=False)


def _about(which: str) -> list[Wording]:
    return [wording for wording in read_wordings("follow_picture", kinds=True) if wording.kind.endswith(which)]
