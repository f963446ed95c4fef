"""What a planner takes and gives; the gateway's port and every implementation share these types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.conversation import Conversation
from planner.format import PlannerOutput
from services.core.context import CallContext
from services.core.spec import SkillSpec


class PlannerUnavailable(RuntimeError):
    """The planner's engine cannot answer now: try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One planner call. `max_tokens` bounds the reply; temperature 0 is greedy."""

    conversation: Conversation
    tools: Sequence[SkillSpec]
    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class PlannerDelta:
    """A piece of the answer while the planner is still writing."""

    text: str


@dataclass(frozen=True, slots=True)
class PlannerDone:
    """The whole output, parsed, with token counts. `cut` says that `max_tokens` ended it."""

    output: PlannerOutput
    prompt_tokens: int
    completion_tokens: int
    cut: bool = False


class Planner(Protocol):
    """Decides what to do next in a conversation."""

    @property
    def model(self) -> str:
        """The name that `/v1/models` and chat completions report."""
        ...

    def plan(self, request: PlanRequest, context: CallContext) -> AsyncIterator[PlannerDelta | PlannerDone]:
        """Stream answer text as it is decoded and end with one `PlannerDone`.

        Raises:
            UnparsableOutput: what the model wrote is not in its dialect.
            PlannerUnavailable: the engine cannot answer now, or not within the deadline.
        """
        ...

    async def ready(self) -> bool:
        """Whether a call now would be answered."""
        ...
