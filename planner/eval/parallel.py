"""Work on many items, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def each(
    items: Sequence[T],
    work: Callable[[T], Awaitable[None]],
    *,
    at_once: int = 1,
    known: int = 0,
    tell: Callable[[int, int], None] = lambda done, total: None,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Do `work` for every item, in their order.

    Args:
        at_once: items under way at the same time.
        known: items that were done before, for `tell`, which is told how many of how many are done.
        until: is asked before every item; nothing new is begun once it says yes.

    Raises:
        Exception: the first that `work` raises, as it is; what is under way then is cancelled.
    """
    room = asyncio.Semaphore(at_once)
    done = known
    tell(done, known + len(items))

    async def one(item: T) -> None:
        nonlocal done
        async with room:
            if until():
                return
            await work(item)
            done += 1
            tell(done, known + len(items))

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(one(item))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
