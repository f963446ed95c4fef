"""Finished answers under the client's `Idempotency-Key`: a message that is sent again is not run again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from gateway.errors import InvalidRequest, MessageRunning
from gateway.settings import GatewaySettings
from gateway.state.locks import Hold, LockBusy, RedisLocks
from gateway.state.redis_errors import redis_errors

KEY = "answer:{}"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    body: str
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is stored, in one transaction with what the message changed.

    Attributes:
        key, data, ttl_s: what is set in Redis, and for how many seconds.
        hold: the message's lock; without it the message may have been run by somebody else.
    """

    key: str
    data: str = field(repr=False)
    ttl_s: int
    hold: Hold


class Answering:
    """One message under its key: `known` is its answer, else it is this caller's to find, under `hold`."""

    def __init__(self, key: str, body: str, ttl_s: int, known: dict[str, Any] | None, hold: Hold | None = None) -> None:
        self._key = key
        self._body = body
        self._ttl_s = ttl_s
        self._hold = hold
        self.known = known

    def kept(self, answer: dict[str, Any]) -> KeptAnswer:
        """See `gateway.ports.Answer.kept`."""
        assert self._hold is not None, "an answer that is known is not found again"
        stored = _Stored(body=self._body, answer=answer)
        return KeptAnswer(self._key, stored.model_dump_json(), self._ttl_s, self._hold)


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
        ttl_s = self._settings.idempotency_ttl_s
        known = await self._get(name, digest)
        if known is not None:
            yield Answering(name, digest, ttl_s, known)
            return
        try:
            async with self._locks.held(f"{name}:lock", self._settings.turn_deadline_s) as hold:
                yield Answering(name, digest, ttl_s, await self._get(name, digest), hold)
        except LockBusy:
            raise MessageRunning() from None

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
