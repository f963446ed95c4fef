"""Turns without a tool's help: small talk, general questions, impossible wishes, a missing picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from planner.data.desk import NO_TOOL, Desk, Request
from planner.data.phrasebook import Wording, read_wordings
from planner.data.rows.base import SingleRequest
from planner.data.rows.interactive import segment_by_example
from planner.data.rows.kinds import MARKED, fitting
from planner.data.wordings import lines, normalised, pairs
from services.core.spec import Symbol

_OUTDATED = re.compile(
    r"only read|can read the text|reads the text|reading the text|read text in pictures with a tool|I will read|Not yet"
)
_NO_MARK = (
    "Please mark what you mean: click on it or draw a box around it.",
    "What do you mean? Please click on it or draw a box.",
    "Nothing is marked yet. Please click on the thing or draw a box around it.",
)
_NO_EXAMPLE = (
    "Please give a reference picture with a mask first.",
    "There is no example yet: please give a reference picture and mark the thing in it.",
)
_EXAMPLE_SHARE = 0.3
_BESIDE_SHARE = 0.4
"""Talk is mistaken for a wish most easily where there is a picture: so often one is shown for sure."""


def chat(desk: Desk) -> Request:
    """Small talk, a question of general knowledge or a sum; a picture may be there all the same."""
    if desk.rng.random() < 0.05:
        question, said = _sum(desk)
    else:
        wording = desk.book.deal("chat", _chats)
        question, said = desk.slots().spoken(wording.text), wording.argument
    return _answered(desk, question, said)


def acknowledgement(desk: Desk) -> Request:
    """A few words that ask for nothing: "ok great", "hm", a heart."""
    return answered(desk, desk.book.deal("chat_short"))


def impossible(desk: Desk) -> Request:
    return answered(desk, desk.book.deal("impossible"))


def answered(desk: Desk, wording: Wording) -> Request:
    """What is answered by the wording's own second column, without a tool."""
    return _answered(desk, desk.slots().spoken(wording.text), wording.argument)


def _answered(desk: Desk, question: str, said: str) -> Request:
    beside = desk.rng.random() < _BESIDE_SHARE
    return Request(question, (), NO_TOOL, lambda got: said, needs_picture=beside)


def _chats() -> list[Wording]:
    """Those of both files; of a question that both have, the newer one counts."""
    found = {normalised(wording.text): wording for wording in read_wordings("chat")}
    for question, said in pairs("answer.tsv"):
        if not _OUTDATED.search(said):
            found.setdefault(normalised(question), Wording(question, said))
    return list(found.values())


def _sum(desk: Desk) -> tuple[str, str]:
    a, b = desk.rng.randint(1, 20), desk.rng.randint(1, 20)
    form = desk.one_of("What is {} + {}?", "{} plus {}?", "How much is {} and {}?", "add {} and {}")
    return form.format(a, b), f"{a + b}."


@dataclass(frozen=True)
class NoPicture:
    """A wish about a picture that is not there."""

    name: str = "no_picture"
    title: str = "No picture"
    skills: tuple[str, ...] = ()
    whole: bool = False

    def build(self, desk: Desk) -> None:
        request = fitting(desk, lambda one: one.needs_picture and not one.marks and not one.given)
        desk.ask(request, show=False)
        desk.say(desk.rng.choice(lines("no_picture_answers.txt")))


@dataclass(frozen=True)
class NothingMarked:
    """A wish about what is marked, or like an example, where nothing is marked or given."""

    name: str = "nothing_marked"
    title: str = "Nothing marked"
    skills: tuple[str, ...] = ()
    whole: bool = False

    def build(self, desk: Desk) -> None:
        example = desk.rng.random() < _EXAMPLE_SHARE
        if example:
            request = segment_by_example(desk)
        else:
            request = fitting(desk, lambda one: bool(one.marks or Symbol.MASK in one.given), MARKED)
        desk.ask(replace(request, marks={}, given=()))
        desk.say(desk.rng.choice(_NO_EXAMPLE if example else _NO_MARK))


CHAT = SingleRequest("conversation", "Conversation without tools", (), ((0.85, chat), (0.15, acknowledgement)))
IMPOSSIBLE = SingleRequest("impossible", "Wishes that cannot be met", (), ((1.0, impossible),))
NO_PICTURE = NoPicture()
NOTHING_MARKED = NothingMarked()
