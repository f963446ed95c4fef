"""Seed requests worded anew by a text model, with what must stay in them checked."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from planner.data.text_model import TextModel

MANNERS = (
    "short, as typed on a phone",
    "polite and complete",
    "clumsy, with a needless detour",
    "indirect, without naming the task",
    "as a child would say it",
    "as a professional who is in a hurry",
    "as somebody whose first language is not English",
    "chatty, with a reason for the wish",
    "as a plain command",
    "as a question",
)
SYSTEM = (
    "You word requests that people send to an assistant that works on pictures. Keep the meaning. Answer with the new "
    "wording alone, on one line, without quotation marks."
)
_LONGER_MAX = 4


class Rewriter:
    """Words requests anew; what the model spoils stays as it was.

    Args:
        share: share of requests that are rewritten.

    Attributes:
        spoilt: how many answers were not used.
    """

    def __init__(self, model: TextModel, share: float = 1.0) -> None:
        self._model = model
        self._share = share
        self.spoilt = 0

    def __call__(self, request: str, values: Sequence[str]) -> str:
        """The request in another manner, which is the request's own. `values` stand in it as they are."""
        rng = random.Random(int.from_bytes(hashlib.sha256(request.encode()).digest()[:8], "big"))
        if rng.random() >= self._share:
            return request
        manner = rng.choice(MANNERS)
        kept = "".join(f"\nKeep these words as they are: {value}" for value in values)
        said = self._model.complete(SYSTEM, f"Manner: {manner}{kept}\nRequest: {request}")
        said = said.strip().strip('"').strip()
        if _fits(said, request, values):
            return said
        self.spoilt += 1
        return request


def _fits(said: str, request: str, values: Sequence[str]) -> bool:
    lower = said.casefold()
    lengths = 2 <= len(said) <= _LONGER_MAX * len(request) + 80
    return lengths and "\n" not in said and all(value.casefold() in lower for value in values)
