"""Locks in Redis: one holder among all gateways, until it lets go or stops renewing."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.errors import StateUnavailable
from gateway.state.redis_errors import redis_errors

_POLL_S = 0.02
_POLL_MAX_S = 0.25
_RENEWALS = 3
"""A lock is renewed this often within its time to live."""
_IF_MINE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call({}) else return 0 end"
_RELEASE = _IF_MINE.format("'del', KEYS[1]")
_RENEW = _IF_MINE.format("'pexpire', KEYS[1], ARGV[2]")


class LockBusy(Exception):
    """Somebody else held the lock for the whole wait."""


@dataclass(slots=True)
class Hold:
    """A lock that is held.

    Attributes:
        key, token: the lock's key in Redis, and what stands under it for as long as this holder has it.
        lost: it expired before it could be renewed, so somebody else may hold it now.
    """

    key: str
    token: str
    lost: bool = False

    async def stands(self, pipe: Pipeline) -> bool:
        """Whether the lock is still this holder's.

        Args:
            pipe: a transaction that watches `key` and so comes to nothing if that changes before its end.
        """
        return not self.lost and await pipe.get(self.key) == self.token.encode()


class RedisLocks:
    """Locks by key.

    Args:
        redis: an asyncio client.
        ttl_s: how long a lock outlives a holder that dies, seconds.
    """

    def __init__(self, redis: Redis, ttl_s: float) -> None:
        self._redis = redis
        self._ttl_ms = max(1, round(ttl_s * 1000))

    @asynccontextmanager
    async def held(self, key: str, wait_s: float) -> AsyncIterator[Hold]:
        """Hold the lock for the block.

        Raises:
            LockBusy: it was not free within `wait_s` seconds.
        """
        hold = Hold(key, secrets.token_hex(16))
        await self._acquire(hold, wait_s)
        renewal = asyncio.create_task(self._renew(hold))
        try:
            yield hold
        finally:
            renewal.cancel()
            # A lock that cannot be given back expires.
            with suppress(StateUnavailable):
                await self._run(_RELEASE, hold)

    async def _acquire(self, hold: Hold, wait_s: float) -> None:
        give_up, pause = time.monotonic() + wait_s, _POLL_S
        while True:
            with redis_errors():
                if await self._redis.set(hold.key, hold.token, nx=True, px=self._ttl_ms):
                    return
            left = give_up - time.monotonic()
            if left <= 0:
                raise LockBusy
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(_POLL_MAX_S, pause * 1.5)

    async def _renew(self, hold: Hold) -> None:
        renewed = time.monotonic()
        while not hold.lost:
            await asyncio.sleep(self._ttl_ms / 1000 / _RENEWALS)
            try:
                hold.lost = not await self._run(_RENEW, hold, self._ttl_ms)
                renewed = time.monotonic()
            except StateUnavailable:
                hold.lost = time.monotonic() - renewed > self._ttl_ms / 1000

    async def _run(self, script: str, hold: Hold, *args: Any) -> Any:
        with redis_errors():
            return await self._redis.eval(script, 1, hold.key, hold.token, *args)
