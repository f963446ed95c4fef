"""The pieces of an answer made to add up to the whole of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished


async def with_the_rest(events: AsyncGenerator[TurnEvent, None]) -> AsyncGenerator[TurnEvent, None]:
    """The same events; what the answer has beyond its pieces comes as a last piece before the end."""
    sent = ""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, AnswerDelta):
                sent += event.text
            elif isinstance(event, TurnFinished) and event.answer != sent and event.answer.startswith(sent):
                yield AnswerDelta(event.answer[len(sent) :])
            yield event
