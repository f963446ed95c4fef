"""Results of skill calls in Redis, shared by all gateways: bounded in number, size and age, oldest out first."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from gateway.settings import GatewaySettings
from gateway.state.redis_errors import redis_errors

KEY = "result:{}"
BY_AGE = "results"
"""Sorted set of the stored keys' digests by the time at which they were stored."""


class RedisResultsCache:
    """Bytes under a digest.

    Args:
        redis: an asyncio client that returns bytes.
        settings: `results_ttl_s`, `results_max` and `result_bytes_max`.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._settings = settings

    async def get(self, digest: str) -> bytes | None:
        with redis_errors():
            found = await self._redis.get(KEY.format(digest))
        return found if isinstance(found, bytes) else None

    async def put(self, digest: str, data: bytes) -> None:
        """Keep it for `results_ttl_s`; what is too large is not kept, and the oldest make room."""
        if len(data) > self._settings.result_bytes_max:
            return
        now, ttl = time.time(), self._settings.results_ttl_s
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(KEY.format(digest), data, ex=ttl)
                pipe.zadd(BY_AGE, {digest: now})
                pipe.expire(BY_AGE, ttl)
                pipe.zremrangebyscore(BY_AGE, "-inf", now - ttl)
                pipe.zcard(BY_AGE)
                stored = (await pipe.execute())[-1]
            surplus = stored - self._settings.results_max
            if surplus > 0:
                oldest: Any = await self._redis.zpopmin(BY_AGE, surplus)
                await self._redis.unlink(*(KEY.format(name.decode()) for name, _ in oldest))
