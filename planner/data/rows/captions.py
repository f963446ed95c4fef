"""Captions: a sentence about the picture, from blip2; with boxes of what it names, from blip2+grounding_dino."""

from __future__ import annotations

from planner.data.answers import sentence
from planner.data.desk import NO_TOOL, Contents, Desk, Request
from planner.data.results import NoResult
from planner.data.rows.base import SingleRequest, wordless
from planner.data.wordings import lines


def answer(got: Contents) -> str:
    return sentence(str(got[0]["caption"]))


caption = wordless("caption", "blip2", "Describe it.", answer)
grounded = wordless("grounded_caption", "blip2+grounding_dino", "Sentence with boxes.", answer)


def plain(desk: Desk) -> Request:
    """A picture and what it shows, without a tool: what a projector learns from (LLaVA's stage 1)."""
    if not desk.picture.captions:
        raise NoResult("the picture has no caption")
    said = sentence(desk.rng.choice(desk.picture.captions))
    return Request(desk.rng.choice(lines("brief_caption.txt")), (), NO_TOOL, lambda got: said)


PLAIN = SingleRequest("picture_caption", "Picture and caption (stage 1)", (), ((1.0, plain),))
ROW = SingleRequest("caption", "Caption", ("blip2",), ((1.0, caption),))
GROUNDED = SingleRequest("grounded_caption", "Caption and grounding", ("blip2+grounding_dino",), ((1.0, grounded),))
