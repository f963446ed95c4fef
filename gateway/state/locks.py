"""Locks in Redis: one holder among all gateways, until it lets go or stops renewing."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis

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


class Hold:
    """A lock that is held.

    Attributes:
        lost: it expired before it could be renewed, so somebody else may hold it now.
    """

    def __init__(self) -> None:
        self.lost = False


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
        token = secrets.token_hex(16)
        await self._acquire(key, token, wait_s)
        hold = Hold()
        renewal = asyncio.create_task(self._renew(key, token, hold))
        try:
            yield hold
        finally:
            renewal.cancel()
            # A lock that cannot be given back expires.
            with suppress(StateUnavailable):
                await self._run(_RELEASE, key, token)

    async def _acquire(self, key: str, token: str, wait_s: float) -> None:
        give_up, pause = time.monotonic() + wait_s, _POLL_S
        while True:
            with redis_errors():
                if await self._redis.set(key, token, nx=True, px=self._ttl_ms):
                    return
            left = give_up - time.monotonic()
            if left <= 0:
                raise LockBusy
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(_POLL_MAX_S, pause * 1.5)

    async def _renew(self, key: str, token: str, hold: Hold) -> None:
        renewed = time.monotonic()
        while not hold.lost:
            await asyncio.sleep(self._ttl_ms / 1000 / _RENEWALS)
            try:
                hold.lost = not await self._run(_RENEW, key, token, self._ttl_ms)
                renewed = time.monotonic()
            except StateUnavailable:
                hold.lost = time.monotonic() - renewed > self._ttl_ms / 1000

    async def _run(self, script: str, key: str, *args: Any) -> Any:
        with redis_errors():
            return await self._redis.eval(script, 1, key, *args)
