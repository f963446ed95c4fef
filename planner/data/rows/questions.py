"""Questions about what a picture shows, answered by blip2: colours, yes or no, sides, places, kinds, sizes.

Anything else is asked in the person's own words, and conversations about it end with the call, since labels do not
answer it. A wording with a story around it has the question alone as its argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.data.answers import sentence
from planner.data.desk import Desk, Request
from planner.data.labels import LabelledObject
from planner.data.phrasebook import Slots
from planner.data.results import NoResult
from planner.data.rows.base import SingleRequest, call
from planner.data.visual_questions import PROMPTS, YES
from planner.data.wordings import unadorned

SKILL = "blip2"
Said = Callable[[str], str]

_SCENES: Mapping[str, str] = {
    "beach": "a beach",
    "desert": "a desert",
    "city": "a city",
    "room": "a room",
    "grass": "on the grass",
    "snow": "in the snow",
}
_SHARES: Mapping[str, float] = {
    "colour": 0.2,
    "coloured": 0.08,
    "presence": 0.25,
    "side": 0.05,
    "rightside": 0.05,
    "scene": 0.14,
    "category": 0.1,
    "larger": 0.06,
}
_OPEN_SHARE = 0.6
_OPEN = "open"


def question(desk: Desk) -> Request:
    # What labels do not answer can be asked for only where nothing has to be answered.
    if desk.choice_only and desk.rng.random() < _OPEN_SHARE:
        kind = _OPEN
    else:
        kind = desk.rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    return _asked(desk, kind)


def open_question(desk: Desk) -> Request:
    """A question that labels do not answer: the conversation ends with the call."""
    desk.choice_only = desk.beyond = True
    return _asked(desk, _OPEN)


def colour_question(desk: Desk) -> Request:
    return _asked(desk, "colour")


def _asked(desk: Desk, kind: str) -> Request:
    wording = desk.book.of_kind("question", kind)
    slots = _slots(desk, kind)
    text = slots.spoken(wording.text)
    if kind in PROMPTS:
        prompt = slots.fill(PROMPTS[kind])
    elif wording.argument:
        prompt = _as_typed(text, slots.fill(wording.argument))
    else:
        prompt = unadorned(text)
    return Request(text, (call(SKILL, prompt=prompt),), "Look.", _answers(kind, slots))


def _as_typed(text: str, words: str) -> str:
    """A part of a message in its own letters, or as it was meant where a slip has changed it."""
    start = text.lower().find(words.rstrip("?.! ").lower())
    return words if start < 0 else text[start : start + len(words)].strip(" ,")


def _slots(desk: Desk, kind: str) -> Slots:
    """Slots that make the question one that the picture answers."""
    lone = desk.picture.lone()
    choices: list[LabelledObject] | None = None
    if desk.choice_only or kind in ("presence", "scene"):
        return desk.slots(present=0.5 if kind == "presence" else 1.0)
    if kind in ("colour", "coloured"):
        choices = [item for item in lone if item.colour]
    elif kind in ("side", "rightside", "larger"):
        choices = lone if len(lone) > 1 else []
    elif kind == "category":
        choices = [item for item in lone if item.category]
    if not choices:
        raise NoResult(f"the picture has nothing to ask of the kind {kind!r}")
    slots = desk.slots(choices)
    if kind == "coloured" and desk.rng.random() < 0.5:
        slots.values["colour"] = next(str(item.colour) for item in choices if item.noun.name == slots.nouns[0].name)
    if kind == "category":
        slots.values["category"] = str(desk.rng.choice(choices).category)
    return slots


def _answers(kind: str, slots: Slots) -> Callable[..., str]:
    noun = slots.nouns[0] if slots.nouns else None
    other = slots.nouns[1] if len(slots.nouns) > 1 else None
    name, second = noun.name if noun else "", other.name if other else ""
    direction = "left" if kind == "side" else "right"

    def yes_no(said: str, yes: str, no: str) -> str:
        return f"Yes, {yes}." if said == YES else f"No, {no}."

    said_as: Mapping[str, Said] = {
        "colour": lambda said: f"The {name} is {said}.",
        "coloured": lambda said: yes_no(
            said, f"the {name} is {slots.fill('{colour}')}", f"the {name} is not {slots.fill('{colour}')}"
        ),
        "presence": lambda said: yes_no(
            said, f"there is {noun.one if noun else 'one'}", f"there is no {(noun.singular or name) if noun else ''}"
        ),
        "side": lambda said: _side(said, name, second, direction),
        "rightside": lambda said: _side(said, name, second, direction),
        "scene": lambda said: f"It is {_SCENES.get(said, said)}.",
        "category": lambda said: f"It is {_one(slots, said)}.",
        "larger": lambda said: f"The {said} is larger.",
    }
    tell = said_as.get(kind, sentence)
    return lambda got: tell(str(got[0]["caption"]))


def _one(slots: Slots, name: str) -> str:
    """A name with its article."""
    known = next((noun.one for noun in slots.nouns if noun.name == name), "")
    return known or f"{'an' if name[:1] in 'aeio' else 'a'} {name}"


def _side(said: str, name: str, second: str, direction: str) -> str:
    no = "" if said == YES else "not "
    return f"{'Yes' if said == YES else 'No'}, the {name} is {no}to the {direction} of the {second}."


ROW = SingleRequest("questions", "Visual questions", (SKILL,), ((0.5, question), (0.5, open_question)))
