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
