"""What a scorer is: the cases that a skill is asked about, and what counts as right."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from PIL import Image

from services.core.skill import SkillCall
from services.embedded.eval.splits import Split
from services.embedded.eval.targets import IN_STYLE, SKILLS, UNSEEN
from services.embedded.world.render import Rendered
from services.retrieval.encoder import Encoder

SCORERS = "services.embedded.eval.scorers"


@dataclass(frozen=True, slots=True)
class Example:
    """One case, to be shown.

    Attributes:
        score: how good the skill was, 0 to 1.
        caption: lines of text under the pictures.
        panels: draws the pictures, side by side.
    """

    score: float
    caption: Sequence[str]
    panels: Callable[[], list[Image.Image]]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures in more detail, for the report."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Score:
    """How a skill did on one split.

    Attributes:
        figures: by name, those of `targets.FIGURES` among them; NaN where there was no case.
        counts: what the figures are over, for example {"scenes": 500, "objects": 1610}.
    """

    figures: dict[str, float]
    counts: dict[str, int]
    examples: list[Example]
    tables: list[Table] = field(default_factory=list)


class Asks(Protocol):
    """The skills, as scorers need them."""

    def ask(self, name: str, calls: Iterable[SkillCall[Any]], total: int) -> list[Any]:
        """The result of each call, in order, answered in batches.

        Args:
            total: how many calls there are, for the progress.

        Raises:
            ScoringFailed: the skill answered a call with an error.
        """
        ...

    def configured(self, name: str, **options: Any) -> Asks:
        """The same skills, but `name` with further options."""
        ...

    def source(self, name: str) -> str:
        """The folder of a skill's checkpoint."""
        ...

    def clip(self) -> Encoder:
        """The CLIP of clip_retrieval, for likeness that the skill itself does not give."""
        ...


class ScoringFailed(RuntimeError):
    """A skill did not answer a plain question; the message has its error."""


class Scorer(ABC):
    """How one skill is scored. The docstring says so to the report's readers.

    Subclasses live in `scorers/NAME.py`, one a file, named by `SCORER`.
    """

    skill: ClassVar[str]
    judges: ClassVar[tuple[str, ...]] = ()
    """Other skills that look at what the skill made."""
    splits: ClassVar[tuple[str, ...]] = (IN_STYLE, UNSEEN)

    @abstractmethod
    def score(self, skills: Asks, split: Split) -> Score:
        """Ask the skill about a split's scenes, and compare."""

    @abstractmethod
    def call(self, drawn: Rendered) -> SkillCall[Any]:
        """A call as a person would make it, about one scene; its time is measured."""

    @classmethod
    def description(cls) -> str:
        """The docstring as one paragraph."""
        return " ".join((inspect.getdoc(cls) or "").split())


def scorer_of(skill: str) -> Scorer:
    """The scorer of a skill.

    Raises:
        KeyError: it has none; the message lists those that have.
    """
    if skill not in SKILLS:
        raise KeyError(f"There is no scorer of {skill!r}: name one of {', '.join(SKILLS)}.")
    made: Scorer = importlib.import_module(f"{SCORERS}.{skill.replace('+', '_')}").SCORER()
    return made
