"""What is kept in Redis, as data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.conversation import Conversation
from services.core.spec import Symbol
from services.core.types import Box, ImageRef, ImageSize, Point

Mode = Literal["fly", "all_tools"]
"""LLaVA-Plus' two ways: the planner calls what it wants, or all understanding skills run before it is asked."""


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


class SessionPicture(BaseModel):
    """A picture of a conversation: its number (from 1, in order of appearance) and the client's name for it."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    handle: ImageRef
    name: str | None = None


class Marks(BaseModel):
    """What a person marked in the current picture; a label is 1 for a point on the object, 0 for one beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: list[Point] = Field(default_factory=list)
    point_labels: list[Literal[0, 1]] = Field(default_factory=list)
    boxes: list[Box] = Field(default_factory=list)

    def given(self) -> dict[str, Any]:
        """Those marks that there are, as plain data."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value}


class StepRecord(BaseModel):
    """One planner call and the skill calls that it asked for, for `debug` and replay.

    `kind` is `all_tools` for the calls that are made before the planner is asked.
    """

    kind: Literal["plan", "all_tools"] = "plan"
    thoughts: str
    actions: list[dict[str, Any]]
    value: str
    results: list[dict[str, Any]] = Field(default_factory=list)
    planner_ms: float
    skills_ms: float = 0.0


class TurnRecord(BaseModel):
    """One question and how it was answered.

    Attributes:
        images, image_names, marks, symbols, mode: what came with the question.
        produced_images: handles of pictures that skills made.
    """

    question: str
    images: list[str]
    image_names: list[str | None] = Field(default_factory=list)
    marks: Marks = Field(default_factory=Marks)
    symbols: dict[Symbol, ImageRef] = Field(default_factory=dict)
    mode: Mode = "fly"
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
        pictures: the same by number and name.
        symbols: what else skills may work on, such as the last mask.
        marks: points and boxes that came with the current picture.
        instructions: a system message's text; it stays in front however long the conversation gets.
        turns: what happened.
    """

    id: str
    owner: str
    created: float
    conversation: Conversation = ()
    images: list[ImageRef] = Field(default_factory=list)
    pictures: list[SessionPicture] = Field(default_factory=list)
    symbols: dict[Symbol, ImageRef] = Field(default_factory=dict)
    marks: Marks = Field(default_factory=Marks)
    instructions: str = ""
    turns: list[TurnRecord] = Field(default_factory=list)


class ListedSession(BaseModel):
    """A session as a list finds it; `expires` is when it will be forgotten unless it is used, in seconds since 1970."""

    session: Session
    expires: float
