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

ORIGINAL: Final = "image 1"
"""How the gateway numbers the picture that came first (`gateway.orchestrator.gallery`)."""
_AFTER: Final[Mapping[str, tuple[str, ...]]] = {
    "grounding_dino": ("facts", "edit", "colour"),
    "grounding_dino+sam": ("facts", "edit", "colour", "where", "find"),
    "clip_retrieval": ("find", "where", "count", "cut", "edit", "colour"),
}
"""What may still be wished for with a thing that a tool was called for."""
_GENERATED_SHARE = 0.35
_BOTH_SHARE = 0.4
"""How often a wish about the made picture follows one about the original."""


def by_pronoun(desk: Desk) -> None:
    """'What is known about them?' after a request that named the thing."""
    first: Request = desk.rng.choice((detect, where, count, segment, look_up))(desk)
    action = first.actions[0]
    noun = _named(desk, str(action.API_params.get("caption", action.API_params.get("query", ""))))
    desk.perform(first)
    kind = desk.rng.choice(_AFTER[action.API_name])
    wording, slots = desk.book.of_kind("follow_it", kind), desk.slots([])
    slots.nouns = [noun]
    text = slots.spoken(wording.text)
    planned, thoughts, answer = _planned(kind, slots, wording)
    desk.perform(Request(text, (planned,), thoughts, answer))


def _named(desk: Desk, name: str) -> Noun:
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
        asked = f"what color is the {noun.name}?"
        return call("blip2", prompt=asked), "Look.", lambda got: f"The {noun.name} is {got[0]['caption']}."
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
