"""Stored conversations."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.parts import ANONYMOUS, parts_of
from gateway.responses import FastJson
from gateway.state.models import StepRecord

router = APIRouter(tags=["sessions"])


class SessionTurn(BaseModel):
    """A question and its answer; `produced_images` are pictures that skills made for it; `steps` only with `debug`."""

    question: str
    images: list[str]
    answer: str
    produced_images: list[str]
    created: float
    request_id: str
    steps: list[StepRecord] | None = None


class SessionView(BaseModel):
    """A conversation. `images` are the handles of all its pictures; times are seconds since the epoch."""

    id: str
    object: str = Field("session", description="Always `session`.")
    created: float
    images: list[str]
    turns: list[SessionTurn]


@router.get("/v1/sessions/{session_id}", response_model=SessionView)
async def get_session(session_id: str, request: Request, debug: bool = False) -> Response:
    """The latest turns of a conversation, oldest first."""
    session = await parts_of(request).sessions.get(session_id, owner=ANONYMOUS)
    hidden = set() if debug else {"steps"}
    turns = [turn.model_dump(mode="json", exclude=hidden) for turn in session.turns]
    return FastJson(
        {
            "id": session.id,
            "object": "session",
            "created": session.created,
            "images": session.images,
            "turns": turns,
        }
    )
