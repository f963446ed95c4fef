"""External knowledge retrieval: what is known about the picture or a thing in it, from clip_retrieval."""

from __future__ import annotations

from planner.data.answers import sentence
from planner.data.desk import Contents, Desk, Request
from planner.data.rows.base import SingleRequest, call
from planner.data.rows.options import stating

SKILL = "clip_retrieval"
_TOLD_MAX = 2
_STATED_SHARE = 0.08
"""How often a wish states how many results it wants."""


def answer(got: Contents) -> str:
    facts = list(got[0]["retrieval_results"])
    return " ".join(facts[:_TOLD_MAX]) if facts else "I found nothing about it."


def look_up(desk: Desk) -> Request:
    if "question" in desk.picture.extra:
        return _question(desk)
    wording = desk.book.deal("lookup")
    slots = desk.slots([*desk.picture.objects] or None) if not desk.choice_only else desk.slots()
    text = slots.spoken(wording.text)
    params = {"query": slots.fill(wording.argument)} if wording.argument else {}
    return Request(text, (call(SKILL, **params),), "Known facts.", answer)


def _question(desk: Desk) -> Request:
    """A question that came with the picture (InfoSeek), and its answer."""
    question, said = (str(desk.picture.extra[name]) for name in ("question", "answer"))
    return Request(question, (call(SKILL),), "Known facts.", lambda got: sentence(said))


ROW = SingleRequest("knowledge", "External knowledge retrieval", (SKILL,), ((1.0, stating(look_up, _STATED_SHARE)),))
