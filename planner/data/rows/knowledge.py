"""External knowledge retrieval: what is known about the picture or a thing in it, from clip_retrieval."""

from __future__ import annotations

from functools import lru_cache

from planner.data.answers import sentence
from planner.data.desk import Contents, Desk, Request
from planner.data.labels import Noun
from planner.data.phrasebook import Slots, Wording, read_nouns, read_wordings
from planner.data.rows.base import SingleRequest, call
from planner.data.rows.options import stated, stating

SKILL = "clip_retrieval"
_TOLD_MAX = 2
_STATED_SHARE = 0.08
"""How often a wish states how many results it wants."""
_PROPER_SHARE = 0.4
"""How often something with a name of its own is asked about, among what lies beyond the pictures."""


def answer(got: Contents) -> str:
    facts = list(got[0]["retrieval_results"])
    return " ".join(facts[:_TOLD_MAX]) if facts else "I found nothing about it."


def look_up(desk: Desk) -> Request:
    if "question" in desk.picture.extra:
        return _question(desk)
    wording = desk.book.deal("lookup")
    slots = desk.slots([*desk.picture.objects] or None) if not desk.choice_only else desk.slots()
    return _asked(slots, wording)


def look_up_beyond(desk: Desk) -> Request:
    """Practice in copying what is asked about: kinds, works and places that no picture of the source shows. The
    conversation ends with the call."""
    if "question" in desk.picture.extra:
        return _question(desk)
    desk.choice_only = desk.beyond = True
    slots = desk.slots([])
    if desk.rng.random() < _PROPER_SHARE:
        slots.nouns = [desk.rng.choice(_names())]
        return _asked(slots, desk.book.deal("lookup_names"))
    slots.nouns = [desk.rng.choice(_subjects())]
    return _asked(slots, desk.book.deal("lookup named", _naming))


def _asked(slots: Slots, wording: Wording) -> Request:
    text = slots.spoken(wording.text)
    query = {"query": slots.fill(wording.argument)} if wording.argument else {}
    return Request(text, (call(SKILL, **query, **stated(slots)),), "Known facts.", answer)


def _naming() -> list[Wording]:
    """The requests that say what they are about."""
    return [wording for wording in read_wordings("lookup") if wording.argument]


@lru_cache
def _subjects() -> list[Noun]:
    return read_nouns("subjects")


@lru_cache
def _names() -> list[Noun]:
    """Names as a query has them and, for a plural, as a sentence has them: with their article."""
    return read_nouns("names")


def _question(desk: Desk) -> Request:
    """A question that came with the picture (InfoSeek), and its answer."""
    question, said = (str(desk.picture.extra[name]) for name in ("question", "answer"))
    return Request(question, (call(SKILL),), "Known facts.", lambda got: sentence(said))


ROW = SingleRequest(
    "knowledge",
    "External knowledge retrieval",
    (SKILL,),
    ((0.7, stating(look_up, _STATED_SHARE)), (0.3, stating(look_up_beyond, _STATED_SHARE))),
)
