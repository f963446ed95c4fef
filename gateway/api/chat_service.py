"""A chat message on its way to a turn, whichever protocol it came by: known answers, locks, and the time it has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gateway.api.chat_input import turn_input
from gateway.api.chat_models import ChatRequest
from gateway.api.chat_turn import ChatTurn, Events
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts
from services.core.context import CallContext


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """The message was sent before with the same key; `completion` is the `chat.completion` that was given."""

    completion: dict[str, Any]

    @property
    def session_id(self) -> str:
        return str(self.completion["session_id"])


@dataclass(frozen=True, slots=True)
class OpenedTurn:
    """A turn that runs as its `events` are read; closing them stops it and lets its locks go."""

    turn: ChatTurn
    events: Events
    session_id: str


async def open_turn(
    body: ChatRequest,
    parts: GatewayParts,
    metrics: GatewayMetrics,
    new_context: Callable[[], CallContext],
    idempotency_key: str | None = None,
) -> KnownAnswer | OpenedTurn:
    """Wait for the session's other messages, check this one, and make its turn.

    Args:
        new_context: called again when the wait is over, so that it takes nothing from the turn's time.

    Raises:
        InvalidRequest, BadImage, ImageNotFound, SessionNotFound, SessionBusy, MessageRunning.
    """
    context = new_context()
    async with AsyncExitStack() as held:
        answering = None
        if idempotency_key is not None:
            message = body.model_dump_json().encode()
            answering = await held.enter_async_context(
                parts.answers.answering(idempotency_key, message, owner=context.owner)
            )
            if answering.known is not None:
                return KnownAnswer(answering.known)
        hold = await held.enter_async_context(parts.sessions.locked(body.session_id)) if body.session_id else None
        context = new_context()
        given = await turn_input(body, parts, context.owner)
        turn = ChatTurn(body, given, parts, metrics, context, answering, hold)
        return OpenedTurn(turn, turn.events(held.pop_all()), given.session.id)
