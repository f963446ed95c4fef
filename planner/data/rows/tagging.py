"""Tagging: names of all that is in the picture, from ram; with boxes, from ram+grounding_dino."""

from __future__ import annotations

from collections import Counter

from planner.data.answers import listed
from planner.data.desk import Contents
from planner.data.rows.base import SingleRequest, wordless


def listing(got: Contents) -> str:
    return f"I see: {got[0]['tags']}."


def located(got: Contents) -> str:
    names: Counter[str] = Counter(got[0]["phrases"])
    if not names:
        return "I found nothing that I could put a box on."
    return f"I found: {listed([f'{name} ({count})' if count > 1 else name for name, count in names.items()])}."


tag = wordless("tags", "ram", "Tags.", listing)
locate_all = wordless("grounded_tags", "ram+grounding_dino", "All with boxes.", located)

ROW = SingleRequest("tagging", "Tagging", ("ram",), ((1.0, tag),))
GROUNDED = SingleRequest("grounded_tagging", "Tagging and grounding", ("ram+grounding_dino",), ((1.0, locate_all),))
