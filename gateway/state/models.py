"""What is kept in Redis, as data."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from planner.conversation import Conversation
from services.core.spec import Symbol
from services.core.types import ImageRef, ImageSize


class ImageInfo(BaseModel):
    """What is known about a stored picture.

    Attributes:
        id: handle, from the hash of owner and bytes.
        size: pixels after EXIF rotation.
        media_type: `image/png`, `image/jpeg` or `image/webp`.
        lineage: the call that made it, None for uploads.
    """

    model_config = ConfigDict(frozen=True)

    id: ImageRef
    owner: str
    size: ImageSize
    media_type: str
    bytes: int
    created: float
    expires: float
    lineage: dict[str, Any] | None = None


class StepRecord(BaseModel):
    """One planner call and the skill calls that it asked for, for `debug` and replay."""

    thoughts: str
    actions: list[dict[str, Any]]
    value: str
    results: list[dict[str, Any]] = Field(default_factory=list)
    planner_ms: float
    skills_ms: float = 0.0


class TurnRecord(BaseModel):
    """One question and how it was answered; `produced_images` are handles of pictures that skills made."""

    question: str
    images: list[str]
    answer: str
    produced_images: list[str] = Field(default_factory=list)
    steps: list[StepRecord]
    created: float
    request_id: str


class Session(BaseModel):
    """A conversation.

    Attributes:
        conversation: what the planner sees.
        images: its pictures, sent or made, the current one last.
        symbols: what else skills may work on, such as the last mask.
        turns: what happened.
    """

    id: str
    owner: str
    created: float
    conversation: Conversation = ()
    images: list[ImageRef] = Field(default_factory=list)
    symbols: dict[Symbol, ImageRef] = Field(default_factory=dict)
    turns: list[TurnRecord] = Field(default_factory=list)
