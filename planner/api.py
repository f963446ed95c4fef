"""What a planner takes and gives; the gateway's port and every implementation share these types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
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


class PromptTooLong(ValueError):
    """The conversation does not fit the planner's context, even without its earlier turns."""


class AdapterNotFound(LookupError):
    """The planner has no adapter of the name that was asked for; the message says which there are."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One planner call.

    Attributes:
        tools: the skills that the prompt describes.
        instructions: what the application wants of all answers; it stays in front however much history is dropped.
        max_tokens: bound of the reply.
        may_act: False leaves the planner no choice but to answer; the prompt stays the same.
        temperature: 0 is greedy; top_p: the share of probability that is sampled from, all by default.
        adapter: name of the LoRA adapter that is to answer; None for the one in use, if any.
    """

    conversation: Conversation
    tools: Sequence[SkillSpec]
    max_tokens: int
    may_act: bool = True
    temperature: float = 0.0
    seed: int | None = None
    instructions: str = ""
    top_p: float | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class PlannerDelta:
    """A piece of the answer while the planner is still writing."""

    text: str


@dataclass(frozen=True, slots=True)
class PlannerCalls:
    """Skills that the planner has just named in a plan that it is still writing."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannerDone:
    """The whole output, parsed, with token counts. `cut` says that `max_tokens` ended it."""

    output: PlannerOutput
    prompt_tokens: int
    completion_tokens: int
    cut: bool = False


PlannerEvent = PlannerDelta | PlannerCalls | PlannerDone


class Planner(Protocol):
    """Decides what to do next in a conversation."""

    @property
    def model(self) -> str:
        """The name that `/v1/models` and chat completions report."""
        ...

    def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        """Stream answer text, and names of skills, as they are decoded, and end with one `PlannerDone`.

        Raises:
            UnparsableOutput: what the model wrote is not in its dialect.
            PlannerUnavailable: the engine cannot answer now, or not within the deadline.
            PromptTooLong: the message does not fit the model's context.
            AdapterNotFound: the request names an adapter that there is not.
        """
        ...

    async def ready(self) -> bool:
        """Whether a call now would be answered."""
        ...
