"""More than one answer to a question (`n`): the same turn again, sampled, on copies of the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from gateway.api.chat_input import TurnInput
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import TurnFinished
from gateway.parts import GatewayParts
from services.core.context import CallContext

Finished = Callable[[], Awaitable[list[TurnFinished]]]


@asynccontextmanager
async def alternatives(
    given: TurnInput,
    count: int,
    temperature: float,
    parts: GatewayParts,
    metrics: GatewayMetrics,
    context: CallContext,
) -> AsyncIterator[Finished]:
    """Run `count` more turns beside the block; leaving it stops those that still run.

    None of them changes the session. With a seed each has one of its own: the question's plus 1, 2, ...

    Args:
        temperature: of these turns.

    Yields:
        What waits for all of them and raises what the first that failed did.
    """
    again = replace(given.request, temperature=temperature)
    requests = [
        again if again.seed is None else replace(again, seed=_next(again.seed, number))
        for number in range(1, count + 1)
    ]
    tasks = [asyncio.create_task(_one(replace(given, request=one), parts, metrics, context)) for one in requests]

    async def finished() -> list[TurnFinished]:
        return await asyncio.gather(*tasks)

    try:
        yield finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _next(seed: int, number: int) -> int:
    """Within 64 bits, with a sign."""
    return (seed + number + 2**63) % 2**64 - 2**63


async def _one(given: TurnInput, parts: GatewayParts, metrics: GatewayMetrics, context: CallContext) -> TurnFinished:
    async with aclosing(parts.orchestrator.run(given.request, given.session, context)) as events:
        async for event in events:
            metrics.turn_event(event)
            if isinstance(event, TurnFinished):
                return event
    raise AssertionError("a turn ends with TurnFinished")
