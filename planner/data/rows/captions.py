"""Captions: a sentence about the picture, from blip2; with boxes of what it names, from blip2+grounding_dino."""

from __future__ import annotations

from planner.data.answers import sentence
from planner.data.desk import Contents
from planner.data.rows.base import SingleRequest, wordless


def answer(got: Contents) -> str:
    return sentence(str(got[0]["caption"]))


caption = wordless("caption", "blip2", "Describe it.", answer)
grounded = wordless("grounded_caption", "blip2+grounding_dino", "Sentence with boxes.", answer)

ROW = SingleRequest("caption", "Caption", ("blip2",), ((1.0, caption),))
GROUNDED = SingleRequest("grounded_caption", "Caption and grounding", ("blip2+grounding_dino",), ((1.0, grounded),))
