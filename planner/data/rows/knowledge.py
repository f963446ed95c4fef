"""External knowledge retrieval: what is known about the picture or a thing in it, from clip_retrieval."""

from __future__ import annotations

from planner.data.desk import Contents, Desk, Request
from planner.data.rows.base import SingleRequest, call

SKILL = "clip_retrieval"
_TOLD_MAX = 2


def answer(got: Contents) -> str:
    facts = list(got[0]["retrieval_results"])
    return " ".join(facts[:_TOLD_MAX]) if facts else "I found nothing about it."


def look_up(desk: Desk) -> Request:
    wording = desk.book.deal("lookup")
    slots = desk.slots([*desk.picture.objects] or None) if not desk.choice_only else desk.slots()
    text = slots.spoken(wording.text)
    params = {"query": slots.fill(wording.argument)} if wording.argument else {}
    return Request(text, (call(SKILL, **params),), "Known facts.", answer)


ROW = SingleRequest("knowledge", "External knowledge retrieval", (SKILL,), ((1.0, look_up),))
