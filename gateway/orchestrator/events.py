"""What happens in a turn, in order; API adapters translate these and add nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.state.models import Session, StepRecord
from planner.format import PlannerOutput


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A person's message: its text and the handles of pictures that came with it, with the client's names for them."""

    text: str
    images: tuple[str, ...] = ()
    image_names: tuple[str | None, ...] = ()
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int | None = None


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
