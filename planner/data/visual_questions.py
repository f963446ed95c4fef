"""Questions about a picture that labels answer: one standard wording of each kind, and the answer to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from planner.data.labels import LabelledObject, LabelledPicture

YES, NO = "yes", "no"
SIDE_STEP_MIN: Final = 0.08
"""Things whose middles are closer than this, in widths of the picture, are on no clear side of each other."""
LARGER_MIN: Final = 1.5
"""One thing is larger where it has this many times the other's area."""

PROMPTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "colour": "what color is the {noun}?",
        "coloured": "is there {a_coloured}?",
        "presence": "is there {a_noun}?",
        "side": "is the {noun} to the left of the {noun2}?",
        "rightside": "is the {noun} to the right of the {noun2}?",
        "scene": "what is the scene?",
        "category": "what {category} is this?",
        "larger": "which is larger, the {noun} or the {noun2}?",
    }
)
"""What blip2 is asked for each kind; another kind is asked in the person's own words."""


def answer(picture: LabelledPicture, prompt: str) -> str | None:
    """The answer to a standard question, None where the labels do not tell it."""
    for pattern, truth in _TRUTHS:
        found = pattern.fullmatch(prompt)
        if found:
            return truth(picture, *found.groups())
    return None


def _colour(picture: LabelledPicture, name: str) -> str | None:
    colours = {item.colour for item in picture.named(name)}
    return colours.pop() if len(colours) == 1 else None


def _presence(picture: LabelledPicture, name: str) -> str:
    there = picture.named(name) or [item for item in picture.objects if name == item.noun.singular]
    if not there:
        colour, _, rest = name.partition(" ")
        there = [item for item in picture.objects if item.colour == colour and rest == item.noun.singular]
    return YES if there else NO


def _left(picture: LabelledPicture, one: str, other: str) -> str | None:
    step = _step(picture, one, other)
    return None if step is None else YES if step < 0 else NO


def _right(picture: LabelledPicture, one: str, other: str) -> str | None:
    step = _step(picture, one, other)
    return None if step is None else YES if step > 0 else NO


def _step(picture: LabelledPicture, one: str, other: str) -> float | None:
    pair = _pair(picture, one, other)
    if pair is None:
        return None
    middles = [(item.box[0] + item.box[2]) / 2 for item in pair]
    step = middles[0] - middles[1]
    return step if abs(step) >= SIDE_STEP_MIN else None


def _scene(picture: LabelledPicture) -> str | None:
    return picture.scene


def _category(picture: LabelledPicture, category: str) -> str | None:
    names = {item.noun.name for item in picture.objects if item.category == category}
    return names.pop() if len(names) == 1 else None


def _larger(picture: LabelledPicture, one: str, other: str) -> str | None:
    pair = _pair(picture, one, other)
    if pair is None:
        return None
    small, large = sorted(pair, key=lambda item: item.area)
    return large.noun.name if large.area >= LARGER_MIN * small.area else None


def _pair(picture: LabelledPicture, one: str, other: str) -> tuple[LabelledObject, LabelledObject] | None:
    first, second = picture.named(one), picture.named(other)
    return (first[0], second[0]) if len(first) == len(second) == 1 else None


_TRUTHS: Final[tuple[tuple[re.Pattern[str], Callable[..., str | None]], ...]] = (
    (re.compile(r"what color is the (.+)\?"), _colour),
    (re.compile(r"is there an? (.+)\?"), _presence),
    (re.compile(r"is the (.+) to the left of the (.+)\?"), _left),
    (re.compile(r"is the (.+) to the right of the (.+)\?"), _right),
    (re.compile(r"what is the scene\?"), _scene),
    (re.compile(r"which is larger, the (.+) or the (.+)\?"), _larger),
    (re.compile(r"what (\w+) is this\?"), _category),
)
