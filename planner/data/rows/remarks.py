"""Messages that need no tool although a picture, or what tools made of it, is there: thanks, praise, talk, sums with
a number that was found, texts about a picture that was made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from planner.data.answers import counted, listed, sentence
from planner.data.desk import ANSWERED, NO_TOOL, Contents, Desk, Request
from planner.data.labels import Noun
from planner.data.results import NoResult
from planner.data.rows.base import Maker
from planner.data.rows.conversation import acknowledgement, answered, chat, impossible
from planner.data.rows.detection import count
from planner.data.rows.kinds import UNDERSTANDING
from planner.data.rows.missing import MAKERS, WHAT
from planner.data.rows.painting import along_layout, edit, generate, inpaint_marked, inpaint_named, post

_PAINTERS: Final[tuple[Maker, ...]] = (generate, generate, edit, edit, inpaint_marked, inpaint_named, along_layout)
_TALK: Final[tuple[tuple[float, Maker], ...]] = ((0.5, acknowledgement), (0.4, chat), (0.1, impossible))
_TWICE_SHARE = 0.25
"""How often another remark follows."""
_LONE_SKIPPED_SHARE = 0.7
"""How often a sum with a single thing is left out: most pictures show one of each, and times one teaches little."""
_WISH_SHARE = 0.25
"""How often a wish follows, so that what was said before does not rule out a call."""


@dataclass(frozen=True)
class Remarks:
    """Calls, or only a picture, and then what is answered without a call."""

    name: str = "remarks"
    title: str = "Remarks without a new wish"
    skills: tuple[str, ...] = tuple(WHAT)
    whole: bool = True

    def build(self, desk: Desk) -> None:
        kinds: Sequence[tuple[float, Callable[[Desk], None]]] = (
            (0.35, _after_any_call),
            (0.05, _named_tool),
            (0.14, _beside_a_picture),
            (0.16, _judged),
            (0.1, _reckoned),
            (0.06, _compared),
            (0.14, _described),
        )
        weights, makers = zip(*kinds, strict=True)
        desk.rng.choices(makers, weights)[0](desk)
        if desk.rng.random() < _TWICE_SHARE:
            desk.perform(_talk(desk))
        if desk.rng.random() < _WISH_SHARE:
            desk.perform(desk.rng.choice(UNDERSTANDING)(desk))


def _talk(desk: Desk) -> Request:
    weights, makers = zip(*_TALK, strict=True)
    maker: Maker = desk.rng.choices(makers, weights)[0]
    return maker(desk)


def _after_any_call(desk: Desk) -> None:
    desk.perform(desk.rng.choice(MAKERS)(desk))
    desk.perform(_talk(desk))


def _named_tool(desk: Desk) -> None:
    """Which tool it was that was used."""
    first = desk.rng.choice(MAKERS)(desk)
    desk.perform(first)
    used = listed(list(dict.fromkeys(action.API_name for action in first.actions)))
    desk.perform(_known(desk.slots().spoken(desk.book.deal("follow_tool").text), f"I used {used}."))


def _beside_a_picture(desk: Desk) -> None:
    """Talk from the first message on, a picture with it."""
    desk.perform(replace(_talk(desk), needs_picture=True))
    desk.perform(_talk(desk))


def _judged(desk: Desk) -> None:
    """Praise or complaint about what was painted."""
    desk.perform(desk.rng.choice(_PAINTERS)(desk))
    desk.perform(answered(desk, desk.book.deal("follow_judged")), show=False)


def _reckoned(desk: Desk) -> None:
    """A sum with the number that was found."""
    noun, number = _counted(desk, ())
    wording, slots = desk.book.deal("follow_sum"), desk.slots([])
    if number == 1 and desk.rng.random() < _LONE_SKIPPED_SHARE:
        raise NoResult("sums with one thing are left out now and then")
    if number == 0 or (wording.argument[0] == "-" and int(wording.argument[1:]) > number):
        raise NoResult("nobody would do this sum with so few things")
    slots.nouns = [noun]
    desk.perform(_known(slots.spoken(wording.text), reckoned(wording.argument, number)))


def reckoned(operation: str, number: int) -> str:
    """'Twice' and the like as a sentence: `*2`, `/2`, `+3`, `-1`, `>5`, `<5`, `odd`, `even`."""
    if operation in ("odd", "even"):
        said = "odd" if number % 2 else "even"
        return f"{'Yes' if said == operation else 'No'}, {number} is {said}."
    sign, other = operation[0], int(operation[1:])
    if sign in "<>":
        true = number > other if sign == ">" else number < other
        words = {">": "more than", "<": "less than"}[sign]
        return f"{'Yes' if true else 'No'}, {number} is {'' if true else 'not '}{words} {other}."
    word, compute = _OPERATIONS[sign]
    return f"{number} {word} {other} is {compute(number, other):g}."


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[int, int], float]]]] = MappingProxyType(
    {
        "*": ("times", lambda number, other: number * other),
        "/": ("divided by", lambda number, other: round(number / other, 2)),
        "+": ("plus", lambda number, other: number + other),
        "-": ("minus", lambda number, other: number - other),
    }
)


def _compared(desk: Desk) -> None:
    """Two numbers that were found, side by side."""
    one, first = _counted(desk, ())
    other, second = _counted(desk, (one,))
    wording, slots = desk.book.deal("follow_compare"), desk.slots([])
    slots.nouns = [one, other]
    desk.perform(_known(slots.spoken(wording.text), compared(wording.argument, (one, first), (other, second))))


def compared(relation: str, one: tuple[Noun, int], other: tuple[Noun, int]) -> str:
    """The answer to `>`, `<` or `=` (is it so?), `which` (are more), `+` (in all) or `-` (how many more)."""
    (noun, first), (noun2, second) = one, other
    both = listed([counted(noun, first), counted(noun2, second)])
    if relation == "+":
        return f"{first} plus {second} is {first + second}."
    if relation == "-":
        return f"The difference is {abs(first - second)}: {both}."
    if relation == "which":
        more = noun if first > second else noun2
        return f"Equally many: {both}." if first == second else f"More {more.plural}: {both}."
    true = {">": first > second, "<": first < second, "=": first == second}[relation]
    return f"{'Yes' if true else 'No'}: {both}."


def _counted(desk: Desk, before: Sequence[Noun]) -> tuple[Noun, int]:
    """Things of one kind that are counted now, and how many were found."""
    request = count(desk)
    name = str(request.actions[0].API_params["caption"])
    noun = next((noun for noun in desk.vocabulary.nouns if noun.name == name), None)
    if noun is None or noun in before:
        raise NoResult("what is counted is not one kind of thing, or not another one")
    desk.ask(request)
    got = desk.run(request)
    desk.say(request.answer(got), ANSWERED)
    return noun, len(got[0]["phrases"])


def _described(desk: Desk) -> None:
    """A text about a picture that was made, from what it was to show."""
    changed = desk.rng.random() < 0.3
    made = edit(desk) if changed else desk.rng.choice((generate, generate, along_layout))(desk)
    desk.perform(made)
    prompt = str(made.actions[-1].API_params["prompt"])
    kind = desk.rng.choice(("post", "hashtags") if changed else tuple(TEXTS))
    text = desk.slots().spoken(desk.book.of_kind("follow_text", kind).text)
    desk.perform(
        _known(text, post(prompt, "New look: ") if changed and kind == "post" else TEXTS[kind](prompt)), show=False
    )


def _hashtags(prompt: str) -> str:
    return " ".join(re.findall(r"#\w+", post(prompt)))


def _title(prompt: str) -> str:
    words = re.sub(r"^(an?|the) ", "", prompt)
    return f"{words[:1].upper()}{words[1:]}"


TEXTS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {"post": post, "hashtags": _hashtags, "alt": sentence, "title": _title}
)
"""Texts about a picture by their kind, from the words that it was painted by."""


def _known(text: str, said: str) -> Request:
    """What is answered from the conversation so far."""

    def answer(got: Contents) -> str:
        return said

    return Request(text, (), NO_TOOL, answer)


ROW = Remarks()
