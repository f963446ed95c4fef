"""What is known about a job, as data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Progress(BaseModel):
    """How far work has come: `step` of `steps`, where that can be told, and what it is at."""

    model_config = ConfigDict(frozen=True)

    step: int | None = Field(None, ge=0)
    steps: int | None = Field(None, ge=1)
    message: str | None = Field(None, max_length=200)


class JobWork(BaseModel):
    """What a job is to do; its pictures are handles.

    Attributes:
        tool: the tool's canonical name, None for a chat.
        body: the request as the tool's or the chat's own endpoint takes it.
        fresh: answer from no cache.
    """

    model_config = ConfigDict(frozen=True)

    tool: str | None
    body: dict[str, Any]
    fresh: bool = False


class Job(BaseModel):
    """A job. Times are seconds since the epoch.

    Attributes:
        error: what went wrong, as `gateway.errors.HttpError`'s fields.
        cancel_requested: somebody wants it to end; it does as soon as who runs it has noticed.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    owner: str
    tool: str | None
    status: JobStatus
    created: float
    started: float | None = None
    finished: float | None = None
    progress: Progress = Field(default_factory=Progress)
    cancel_requested: bool = False
    error: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")
