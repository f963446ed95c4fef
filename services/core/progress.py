"""How far calls are, told by the replica that runs them, in Redis where anybody may look it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from pydantic_core import to_json

from services.core.skill import Report

PROGRESS_KEY = "progress:{}"
"""By request id: {"skill": name, "step": steps done, "steps": of how many}."""
TTL_S = 60


class Notes(Protocol):
    """Where progress is written: an asyncio client of Redis."""

    def set(self, name: str, value: bytes, /, *, ex: int) -> Awaitable[object]: ...

    def delete(self, *names: str) -> Awaitable[object]: ...


@asynccontextmanager
async def told(notes: Notes, skill: str, request_id: str) -> AsyncIterator[Report]:
    """What a call of the block reports is to be read until the block ends.

    Where a request's calls run at the same time, it is what one of them reported last. A call that reports nothing
    costs nothing, and progress that cannot be written is not worth an error.
    """
    progress = _Progress(notes, skill, PROGRESS_KEY.format(request_id))
    try:
        yield progress.report
    finally:
        await progress.end()


class _Progress:
    """Writes one report at a time, and of those that come meanwhile only the last."""

    def __init__(self, notes: Notes, skill: str, key: str) -> None:
        self._notes = notes
        self._skill = skill
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._newest: tuple[int, int] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._over = False

    def report(self, step: int, steps: int) -> None:
        # A skill that outlives its call may outlive the loop too.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._note, step, steps)

    def _note(self, step: int, steps: int) -> None:
        if self._over:
            return
        self._newest = (step, steps)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        from redis.exceptions import RedisError

        while self._newest is not None:
            (step, steps), self._newest = self._newest, None
            with suppress(RedisError):
                noted = to_json({"skill": self._skill, "step": step, "steps": steps})
                await self._notes.set(self._key, noted, ex=TTL_S)

    async def end(self) -> None:
        from redis.exceptions import RedisError

        self._over, self._newest = True, None
        if self._writer is not None:
            await asyncio.wait((self._writer,))
            with suppress(RedisError):
                await self._notes.delete(self._key)
