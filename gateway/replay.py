"""A session's questions asked again, in a new session: what would today's planner, skills and weights answer?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from gateway.orchestrator.events import TurnFinished, TurnRequest
from gateway.parts import GatewayParts
from gateway.state.models import Session
from services.core.context import CallContext


async def replayed(session: Session, parts: GatewayParts, context: Callable[[], CallContext]) -> Session:
    """The new session, stored when all of its turns have been run.

    Args:
        context: gives every turn its own time.

    Raises:
        PlannerUnavailable, PromptTooLong, ImageNotFound: a turn cannot be run again.
    """
    again = await parts.sessions.create(owner=session.owner)
    again = again.model_copy(update={"instructions": session.instructions})
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
