"""What a row is: one line of the paper's Table 2 (arXiv 2311.05437), as data plus the makers of its requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from planner.data.desk import Contents, Desk, Request
from planner.data.phrasebook import Slots, Wording
from planner.format import Action

Maker = Callable[[Desk], Request]
"""Makes one request about the desk's picture; raises `NoResult` where the picture has nothing for it."""


class Row(Protocol):
    """A kind of conversation."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str:
        """What the paper's Table 2 calls it."""
        ...

    @property
    def skills(self) -> tuple[str, ...]:
        """Those that it calls; a data set without one of them leaves the row out."""
        ...

    @property
    def whole(self) -> bool:
        """Whether its point comes after the first plan: such conversations never end there (`choice_share`), and are
        never cut in training (`cut_share`)."""
        ...

    def build(self, desk: Desk) -> None:
        """Put the conversation on the desk. Raises what `Desk.perform` raises."""
        ...


@dataclass(frozen=True)
class SingleRequest:
    """A row whose conversations are one request, by one of its makers."""

    name: str
    title: str
    skills: tuple[str, ...]
    makers: tuple[tuple[float, Maker], ...]
    whole: bool = False

    def build(self, desk: Desk) -> None:
        desk.perform(self.request(desk))

    def request(self, desk: Desk) -> Request:
        weights, makers = zip(*self.makers, strict=True)
        maker: Maker = desk.rng.choices(makers, weights)[0]
        return maker(desk)


def call(skill: str, **params: Any) -> Action:
    return Action(API_name=skill, API_params=params)


def wordless(
    wordings: str, skill: str, thoughts: str, answer: Callable[[Contents], str], present: float = 1.0
) -> Maker:
    """A maker for a skill that is called without arguments."""

    def make(desk: Desk) -> Request:
        text = desk.slots(present=present).spoken(desk.book.deal(wordings).text)
        return Request(text, (call(skill),), thoughts, answer)

    return make


def argument(slots: Slots, wording: Wording, usual: str) -> str:
    """The argument that a wording means: its own, or the row's usual one, filled."""
    return slots.fill(wording.argument or usual)


def captioned(slots: Slots, wording: Wording) -> str:
    """A detector's caption: the wording's own, or all nouns in it."""
    return slots.fill(wording.argument) if wording.argument else " . ".join(slots.asked)
