"""A session's questions asked again, in a new session: what would today's planner, skills and weights answer?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from gateway.orchestrator.events import TurnFinished, TurnRequest
from gateway.parts import GatewayParts
from gateway.state.models import Session
from planner.conversation import UserTurn
from services.core.context import CallContext


async def replayed(session: Session, parts: GatewayParts, context: Callable[[], CallContext]) -> Session:
    """The new session, stored when all of its turns have been run.

    Args:
        context: gives every turn its own time.

    Raises:
        PlannerUnavailable, PromptTooLong, ImageNotFound: a turn cannot be run again.
    """
    again = await parts.sessions.create(owner=session.owner)
    again = again.model_copy(update={"instructions": session.instructions, **await _brought_along(session, parts)})
    for turn in session.turns:
        for handle in turn.images:
            await parts.images.info(handle, owner=session.owner)
        request = TurnRequest(
            text=turn.question,
            images=tuple(turn.images),
            image_names=tuple(turn.image_names),
            marks=turn.marks,
            symbols=turn.symbols,
            mode=turn.mode,
        )
        async with aclosing(parts.orchestrator.run(request, again, context())) as events:
            async for event in events:
                if isinstance(event, TurnFinished):
                    again = event.session
    await parts.sessions.save(again)
    return again


async def _brought_along(session: Session, parts: GatewayParts) -> dict[str, Any]:
    """What the client sent as earlier messages when the session began, as far as it is kept: it has no turns."""
    asked = [index for index, turn in enumerate(session.conversation) if isinstance(turn, UserTurn)]
    brought = len(asked) - len(session.turns)
    earlier = session.conversation[: asked[brought]] if 0 < brought < len(asked) else ()
    images = dict.fromkeys(handle for turn in earlier if isinstance(turn, UserTurn) for handle in turn.images)
    for handle in images:
        await parts.images.info(handle, owner=session.owner)
    return {"conversation": earlier, "images": list(images)}
