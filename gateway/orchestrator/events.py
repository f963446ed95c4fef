"""What happens in a turn, in order; API adapters translate these and add nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.state.models import Marks, Mode, Session, StepRecord
from planner.format import PlannerOutput
from services.core.spec import Symbol


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A person's message.

    Attributes:
        images: handles of the pictures that came with it; image_names: the client's names for them.
        marks: points and boxes that the person marked in the current picture.
        symbols: handles of a drawn mask, or of a reference picture and its mask.
        adapter: the planner's adapter that is to answer; None for the one in use.
    """

    text: str
    images: tuple[str, ...] = ()
    image_names: tuple[str | None, ...] = ()
    marks: Marks = field(default_factory=Marks)
    symbols: Mapping[Symbol, str] = field(default_factory=dict)
    mode: Mode = "fly"
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class StepPlanned:
    """The planner asked for skills."""

    output: PlannerOutput


@dataclass(frozen=True, slots=True)
class SkillStarted:
    skill: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SkillFinished:
    """One skill call ended: `result` on success, `error` (`SkillError.to_wire`) otherwise."""

    skill: str
    elapsed_ms: float
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The turn's end.

    Attributes:
        finish_reason: "stop", or "length" when a limit cut it.
        produced: handles of the pictures that skills made, oldest first.
    """

    answer: str
    session: Session
    steps: list[StepRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    produced: list[str] = field(default_factory=list)


TurnEvent = AnswerDelta | StepPlanned | SkillStarted | SkillFinished | TurnFinished
