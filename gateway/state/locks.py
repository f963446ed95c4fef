"""Locks in Redis: one holder among all gateways, until it lets go or stops renewing; who waits is served in order."""

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
_POLL_NEXT_S = 0.05
_POLL_MAX_S = 0.25
"""Who is next looks more often than those behind."""
_WAITING_MS = 2000
"""Who has not looked for so long waits no more; must be well above `_POLL_MAX_S`."""
_RENEWALS = 3
"""A lock is renewed this often within its time to live."""
_ACQUIRE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return -1 end
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('zrangebyscore', KEYS[3], '-inf', now)) do
  redis.call('zrem', KEYS[2], gone)
  redis.call('zrem', KEYS[3], gone)
end
redis.call('zadd', KEYS[2], 'nx', time[1] * 1000000 + time[2], ARGV[1])
local before = redis.call('zrank', KEYS[2], ARGV[1])
if before == 0 and redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2]) then
  redis.call('zrem', KEYS[2], ARGV[1])
  redis.call('zrem', KEYS[3], ARGV[1])
  return -1
end
redis.call('zadd', KEYS[3], now + ARGV[3], ARGV[1])
redis.call('pexpire', KEYS[2], ARGV[3])
redis.call('pexpire', KEYS[3], ARGV[3])
return before
"""
"""Keys: the lock, who waits by arrival (microseconds), and the same by when they are given up (milliseconds).

Returns how many wait before this one, -1 where it has the lock, also where the connection broke as it was told so.
"""
_LEAVE = """
redis.call('zrem', KEYS[2], ARGV[1])
redis.call('zrem', KEYS[3], ARGV[1])
if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
"""
_RENEW = "if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('pexpire', KEYS[1], ARGV[2])"


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
    """Locks by key. Those who wait for one get it in the order in which they came.

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
            await self._leave(hold)

    async def _acquire(self, hold: Hold, wait_s: float) -> None:
        give_up, pause = time.monotonic() + wait_s, _POLL_S
        try:
            while (before := await self._run(_ACQUIRE, hold, self._ttl_ms, _WAITING_MS)) >= 0:
                left = give_up - time.monotonic()
                if left <= 0:
                    raise LockBusy
                await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))
                pause = min(_POLL_MAX_S if before else _POLL_NEXT_S, pause * 1.5)
        except StateUnavailable:
            raise
        except BaseException:
            await self._leave(hold)
            raise

    async def _leave(self, hold: Hold) -> None:
        """Neither hold nor wait any more. A lock that cannot be given back expires, and so does a place in line."""
        with suppress(StateUnavailable):
            await self._run(_LEAVE, hold)

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
            return await self._redis.eval(
                script, 3, hold.key, f"{hold.key}:waiting", f"{hold.key}:looking", hold.token, *args
            )
