"""Finished answers under the client's `Idempotency-Key`: a message that is sent again is not run again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from gateway.errors import InvalidRequest, MessageRunning
from gateway.settings import GatewaySettings
from gateway.state.locks import LockBusy, RedisLocks
from gateway.state.redis_errors import redis_errors

KEY = "answer:{}"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    body: str
    answer: dict[str, Any]


class Answering:
    """One message under its key: `known` is its answer, else it is this caller's to find, and to `keep`."""

    def __init__(self, store: RedisAnswerStore, key: str, body: str, known: dict[str, Any] | None) -> None:
        self._store = store
        self._key = key
        self._body = body
        self.known = known

    async def keep(self, answer: dict[str, Any]) -> None:
        await self._store.put(self._key, _Stored(body=self._body, answer=answer))


class RedisAnswerStore:
    """Answers by owner and key, for `idempotency_ttl_s`.

    Args:
        redis: an asyncio client that returns bytes.
        settings: times.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._settings = settings
        self._locks = RedisLocks(redis, settings.lock_ttl_s)

    @asynccontextmanager
    async def answering(self, key: str, body: bytes, *, owner: str) -> AsyncIterator[Answering]:
        """Find the answer of an equal message, waiting for one that is being answered, or become who answers it.

        Raises:
            InvalidRequest: the key was used for another message.
            MessageRunning: the other one is still running when a turn's time is over.
        """
        name = KEY.format(hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest())
        digest = hashlib.sha256(body).hexdigest()
        known = await self._get(name, digest)
        if known is not None:
            yield Answering(self, name, digest, known)
            return
        try:
            async with self._locks.held(f"{name}:lock", self._settings.turn_deadline_s):
                yield Answering(self, name, digest, await self._get(name, digest))
        except LockBusy:
            raise MessageRunning() from None

    async def put(self, name: str, stored: _Stored) -> None:
        with redis_errors():
            await self._redis.set(name, stored.model_dump_json(), ex=self._settings.idempotency_ttl_s)

    async def _get(self, name: str, digest: str) -> dict[str, Any] | None:
        with redis_errors():
            found = await self._redis.get(name)
        try:
            stored = _Stored.model_validate_json(found) if found is not None else None
        except ValidationError:
            return None
        if stored is None:
            return None
        if stored.body != digest:
            raise InvalidRequest(
                "Idempotency-Key: it was used for another message; use a new key for a new message.",
                param="Idempotency-Key",
            )
        return stored.answer
