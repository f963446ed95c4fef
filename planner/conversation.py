"""What a planner is given: a conversation in the internal form, before any dialect renders it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.format import PlannerOutput


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UserTurn(_Frozen):
    """What a person wrote, with the handles (`img_...`) of the pictures that came along."""

    kind: Literal["user"] = "user"
    text: str
    images: tuple[str, ...] = ()


class AssistantTurn(_Frozen):
    """What the planner said earlier."""

    kind: Literal["assistant"] = "assistant"
    output: PlannerOutput


class Observation(_Frozen):
    """What one skill call gave: its result as the planner sees it, or what went wrong."""

    skill: str
    content: dict[str, Any]
    failed: bool = False


class ObservationTurn(_Frozen):
    """The results of all calls of one plan. `question` is asked again, as LLaVA-Plus does."""

    kind: Literal["observation"] = "observation"
    observations: tuple[Observation, ...]
    question: str


Turn = Annotated[UserTurn | AssistantTurn | ObservationTurn, Field(discriminator="kind")]
Conversation = tuple[Turn, ...]


def last_exchanges(conversation: Conversation, count: int) -> Conversation:
    """The last `count` questions (at least one) with everything that followed them.

    When the first question that stays has no picture, it is given those of the last dropped one that
    had some: a person goes on asking about the same picture for longer than a history is kept.
    """
    questions = [index for index, turn in enumerate(conversation) if isinstance(turn, UserTurn)]
    if len(questions) <= count:
        return conversation
    start = questions[-count]
    first = conversation[start]
    assert isinstance(first, UserTurn)
    if not first.images:
        dropped = (turn.images for turn in reversed(conversation[:start]) if isinstance(turn, UserTurn) and turn.images)
        first = first.model_copy(update={"images": next(dropped, ())})
    return (first, *conversation[start + 1 :])


def with_instructions(conversation: Conversation, instructions: str) -> Conversation:
    """The conversation with the instructions in front of its first question: system texts are fixed by training."""
    if not instructions:
        return conversation
    for index, turn in enumerate(conversation):
        if isinstance(turn, UserTurn):
            first = turn.model_copy(update={"text": f"{instructions}\n\n{turn.text}"})
            return (*conversation[:index], first, *conversation[index + 1 :])
    return conversation


def without_mistakes(conversation: Conversation, count: int) -> Conversation:
    """The conversation as if the planner's first `count` turns, and what it was told of them, had not been."""
    kept: list[Turn] = []
    for turn in conversation:
        if count and isinstance(turn, AssistantTurn):
            count -= 1
        elif not (isinstance(turn, ObservationTurn) and kept and isinstance(kept[-1], UserTurn)):
            kept.append(turn)
    return tuple(kept)
