"""Instance segmentation: exact shapes of named things, from grounding_dino+sam."""

from __future__ import annotations

from planner.data.answers import listed, tally
from planner.data.desk import Contents, Desk, Request
from planner.data.rows.base import SingleRequest
from planner.data.rows.detection import named

SKILL = "grounding_dino+sam"


def segment(desk: Desk) -> Request:
    _, text, action, nouns = named(desk, "segment", SKILL)

    def answer(got: Contents) -> str:
        if not got[0]["phrases"]:
            return f"I do not see {listed([noun.one for noun in nouns])}."
        return f"I cut out {listed(tally(nouns, got[0]))}."

    return Request(text, (action,), "Cut it out.", answer)


ROW = SingleRequest("instance_segmentation", "Instance segmentation", (SKILL,), ((1.0, segment),))
