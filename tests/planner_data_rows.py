"""Rows of planner data, built for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from planner.conversation import Conversation
from planner.data.desk import ChoiceMade, Desk, Voice
from planner.data.phrasebook import Phrasebook, Wording
from planner.data.results import NoResult
from planner.data.rows import ROWS
from tests.planner_data_scenes import desk

TRIES = 10


class OneWording(Phrasebook):
    """A phrasebook that holds nothing else."""

    def __init__(self, text: str, argument: str = "", kind: str = "") -> None:
        super().__init__(0)
        self._only = Wording(text, argument, kind)

    def deal(self, name: str, make: Callable[[], list[Wording]] | None = None) -> Wording:
        return self._only


def built(row: str, seed: int, *, choice_only: bool = False, voice: Voice | None = None) -> Desk | None:
    """A finished desk of the row, None where the picture had nothing for what was drawn."""
    one = desk(seed, choice_only=choice_only, voice=voice)
    try:
        with suppress(ChoiceMade):
            ROWS[row].build(one)
    except NoResult:
        return None
    return one


def desks(row: str, *, choice_only: bool = False, tries: int = TRIES) -> list[Desk]:
    """Finished desks of the row."""
    found = [one for seed in range(tries) if (one := built(row, seed, choice_only=choice_only))]
    assert found, "the row never fits the picture"
    return found


def conversations(row: str, *, choice_only: bool = False) -> Iterator[Conversation]:
    yield from (one.conversation for one in desks(row, choice_only=choice_only))
