"""Stored conversations: list them, read them with all steps, ask their questions again, forget them."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import ANONYMOUS, call_context, parts_of
from gateway.replay import replayed
from gateway.responses import FastJson
from gateway.state.models import ListedSession, Marks, Mode, Session, SessionPicture, StepRecord, TurnRecord
from services.core.spec import Symbol
from services.core.types import ImageRef

router = APIRouter(tags=["sessions"])
TITLE_CHARS = 80
_GIVEN = (Symbol.MASK, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK)


class TurnMarks(Marks):
    """What the person marked in the current picture, and the reference that came with the question; handles."""

    mask: ImageRef | None = None
    reference_image: ImageRef | None = None
    reference_mask: ImageRef | None = None


class SessionTurn(BaseModel):
    """A question and its answer; `produced_images` are pictures that skills made for it; `steps` only with `debug`."""

    question: str
    images: list[str]
    image_names: list[str | None] = Field(description="The client's names for `images`.")
    marks: TurnMarks
    mode: Mode
    answer: str
    produced_images: list[str]
    created: float
    request_id: str
    steps: list[StepRecord] | None = None


class SessionView(BaseModel):
    """A conversation. `images` are the handles of all its pictures; times are seconds since the epoch.

    It lives for `ttl_s` seconds without being used; reading it is a use, and renews `expires`.
    """

    id: str
    object: str = Field("session", description="Always `session`.")
    owner: str
    created: float
    expires: float
    ttl_s: float
    images: list[str]
    pictures: list[SessionPicture] = Field(description="The same with the numbers and names that questions may use.")
    turns: list[SessionTurn]


class SessionSummary(BaseModel):
    """A conversation in a list; `title` is its first question that is kept.

    Times are as in `SessionView`, but being listed is no use and renews nothing.
    """

    id: str
    object: str = Field("session", description="Always `session`.")
    owner: str
    created: float
    last_used: float
    expires: float
    ttl_s: float
    title: str
    turns: int
    images: int


class SessionList(BaseModel):
    object: str = Field("list", description="Always `list`.")
    data: list[SessionSummary]
    has_more: bool


class SessionDeleted(BaseModel):
    id: str
    object: str = Field("session.deleted", description="Always `session.deleted`.")
    deleted: bool


class Replay(SessionView):
    """A new session with the questions of `replay_of`; `same_answers` says for each turn whether it is equal."""

    replay_of: str
    same_answers: list[bool]


@router.get("/v1/sessions", response_model=SessionList)
async def list_sessions(
    request: Request,
    limit: Annotated[int, Query(ge=1, description="How many; a setting bounds it.")] = 20,
    after: Annotated[str | None, Query(description="Id of the last session of the page before.")] = None,
) -> Response:
    """The conversations, the last used first."""
    parts = parts_of(request)
    limit = min(limit, parts.settings.sessions_listed_max)
    found = await parts.sessions.page(owner=ANONYMOUS, limit=limit + 1, after=after)
    data = [_summary(one, parts.settings.session_ttl_s) for one in found[:limit]]
    return FastJson({"object": "list", "data": data, "has_more": len(found) > limit})


@router.get("/v1/sessions/{session_id}", response_model=SessionView)
async def get_session(session_id: str, request: Request, debug: bool = False) -> Response:
    """The latest turns of a conversation, oldest first; with `debug` every planner call and skill call of them."""
    parts = parts_of(request)
    session = await parts.sessions.get(session_id, owner=ANONYMOUS)
    return FastJson(_view(session, parts.settings.session_ttl_s, debug))


@router.delete("/v1/sessions/{session_id}", response_model=SessionDeleted)
async def delete_session(session_id: str, request: Request) -> Response:
    """Forget a conversation, after a message that is being answered. Its pictures live on for as long as they do."""
    sessions = parts_of(request).sessions
    async with sessions.locked(session_id):
        await sessions.delete(session_id, owner=ANONYMOUS)
    return FastJson({"id": session_id, "object": "session.deleted", "deleted": True})


@router.post("/v1/sessions/{session_id}/replay", response_model=Replay)
async def replay_session(session_id: str, request: Request, debug: bool = False) -> Response:
    """Ask the kept questions of a conversation again, in a new one: to see what has changed since.

    Calls that are in the results cache are not run again; `Cache-Control: no-cache` runs them.
    """
    parts = parts_of(request)
    session = await parts.sessions.get(session_id, owner=ANONYMOUS)
    async with cancelled_when_client_leaves(request.receive):
        again = await replayed(session, parts, lambda: call_context(request, parts.settings.turn_deadline_s))
    same = [old.answer == new.answer for old, new in zip(session.turns, again.turns, strict=False)]
    view = _view(again, parts.settings.session_ttl_s, debug)
    return FastJson(view | {"replay_of": session.id, "same_answers": same})


def _view(session: Session, ttl_s: float, debug: bool) -> dict[str, Any]:
    return {
        "id": session.id,
        "object": "session",
        "owner": session.owner,
        "created": session.created,
        "expires": time.time() + ttl_s,
        "ttl_s": ttl_s,
        "images": session.images,
        "pictures": [picture.model_dump(mode="json") for picture in session.pictures],
        "turns": [_turn(turn, debug) for turn in session.turns],
    }


def _turn(turn: TurnRecord, debug: bool) -> dict[str, Any]:
    shown = set(SessionTurn.model_fields) - {"marks"} - (set() if debug else {"steps"})
    handles = {str(symbol): turn.symbols.get(symbol) for symbol in _GIVEN}
    return turn.model_dump(mode="json", include=shown) | {"marks": turn.marks.model_dump(mode="json") | handles}


def _summary(listed: ListedSession, ttl_s: float) -> dict[str, Any]:
    session = listed.session
    return {
        "id": session.id,
        "object": "session",
        "owner": session.owner,
        "created": session.created,
        "last_used": session.turns[-1].created if session.turns else session.created,
        "expires": listed.expires,
        "ttl_s": ttl_s,
        "title": session.turns[0].question[:TITLE_CHARS] if session.turns else "",
        "turns": len(session.turns),
        "images": len(session.images),
    }
