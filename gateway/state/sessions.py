"""Sessions in Redis: one JSON document each, renewed by every use."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway.errors import MessageLockLost, SessionBusy, SessionLockLost, SessionNotFound, StateUnavailable
from gateway.settings import GatewaySettings
from gateway.state.answers import KeptAnswer
from gateway.state.history import trimmed
from gateway.state.locks import Hold, LockBusy, RedisLocks
from gateway.state.models import ListedSession, Session
from gateway.state.redis_errors import redis_errors

KEY = "session:{}"
INDEX = "sessions:{}"
"""Sorted set of an owner's session ids by the time of the last turn."""
_SWEPT = 16
"""A session that is stored takes up to this many that have expired out of the index, which so stays bounded."""
_ID = re.compile(r"sess_[0-9a-f]{32}", re.ASCII)
_log = structlog.get_logger("gateway.state")


class RedisSessionStore:
    """Conversations, kept for `session_ttl_s` after their last use.

    Args:
        redis: an asyncio client that returns bytes.
        settings: `session_ttl_s`, `history_turns_max` and `images_per_message_max`.
    """

    def __init__(self, redis: Redis, settings: GatewaySettings) -> None:
        self._redis = redis
        self._settings = settings
        self._locks = RedisLocks(redis, settings.lock_ttl_s)

    async def create(self, *, owner: str) -> Session:
        """A new session, not stored yet. Its id is random: nobody can guess another's."""
        return Session(id=f"sess_{secrets.token_hex(16)}", owner=owner, created=time.time())

    async def get(self, session_id: str, *, owner: str) -> Session:
        stored = None
        if _ID.fullmatch(session_id):
            ttl = self._settings.session_ttl_s
            with redis_errors():
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.getex(KEY.format(session_id), ex=ttl)
                    pipe.expire(INDEX.format(owner), ttl)
                    stored, _ = await pipe.execute()
        session = _parsed(stored, session_id) if isinstance(stored, bytes) else None
        if session is None or session.owner != owner:
            raise SessionNotFound(
                "No such session: it expired or never was. Leave session_id out to start a new one.",
                param="session_id",
            )
        return session

    async def save(self, session: Session, *, hold: Hold | None = None, answer: KeptAnswer | None = None) -> None:
        """See `SessionStore.save`; what `history_turns_max` leaves behind is not stored."""
        turns_max = self._settings.history_turns_max
        kept = trimmed(session, turns_max, turns_max * self._settings.images_per_message_max)
        ttl, index, now = self._settings.session_ttl_s, INDEX.format(session.owner), time.time()
        holds = [one for one in (hold, answer.hold if answer else None) if one is not None]

        async def write(pipe: Pipeline) -> None:
            if hold is not None and not await hold.stands(pipe):
                raise SessionLockLost
            if answer is not None and not await answer.hold.stands(pipe):
                raise MessageLockLost
            pipe.multi()  # type: ignore[no-untyped-call]  # redis has no annotation there
            if answer is not None:
                pipe.set(answer.key, answer.data, ex=answer.ttl_s)
            pipe.set(KEY.format(session.id), kept.model_dump_json(), ex=ttl)
            pipe.zadd(index, {session.id: now})
            pipe.expire(index, ttl)
            pipe.zrangebyscore(index, "-inf", now - ttl, start=0, num=_SWEPT)

        with redis_errors():
            stored: Any = await self._redis.transaction(write, *(one.key for one in holds))
            await self._sweep(index, [name.decode() for name in stored[-1]])

    async def _sweep(self, index: str, ids: Sequence[str]) -> None:
        """Take those out of the index that are gone; one whose last turn is long ago may live on by being read."""
        if not ids:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in ids:
                pipe.exists(KEY.format(name))
            there = await pipe.execute()
        gone = [name for name, exists in zip(ids, there, strict=True) if not exists]
        if gone:
            await self._redis.zrem(index, *gone)

    @asynccontextmanager
    async def locked(self, session_id: str) -> AsyncIterator[Hold]:
        """See `SessionStore.locked`."""
        try:
            async with self._locks.held(f"{KEY.format(session_id)}:lock", self._settings.session_wait_s) as hold:
                yield hold
        except LockBusy:
            raise SessionBusy from None

    async def page(self, *, owner: str, limit: int, after: str | None = None) -> Sequence[ListedSession]:
        """See `SessionStore.page`. Sessions that have expired leave the index here."""
        index, found = INDEX.format(owner), list[ListedSession]()
        with redis_errors():
            rank: Any = await self._redis.zrevrank(index, after) if after else None
            if after and rank is None:
                return found
            start = 0 if rank is None else int(rank) + 1
            while len(found) < limit:
                names: Any = await self._redis.zrevrange(index, start, start + limit - 1)
                ids = [name.decode() for name in names]
                if not ids:
                    break
                stored, gone = await self._stored(ids)
                found += [one for one in stored if one.session.owner == owner]
                if gone:
                    await self._redis.zrem(index, *gone)
                start += len(ids) - len(gone)
        return found[:limit]

    async def _stored(self, ids: Sequence[str]) -> tuple[list[ListedSession], list[str]]:
        """The sessions that can be read, in order, and the ids of those that are gone."""
        now = time.time()
        async with self._redis.pipeline(transaction=True) as pipe:
            for name in ids:
                pipe.get(KEY.format(name))
                pipe.pttl(KEY.format(name))
            answers = await pipe.execute()
        found, gone = list[ListedSession](), list[str]()
        for name, data, ttl_ms in zip(ids, answers[::2], answers[1::2], strict=True):
            session = _parsed(data, name) if data is not None else None
            if session is not None:
                found.append(ListedSession(session=session, expires=now + ttl_ms / 1000))
            if data is None:
                gone.append(name)
        return found, gone

    async def delete(self, session_id: str, *, owner: str) -> None:
        """See `SessionStore.delete`."""
        await self.get(session_id, owner=owner)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(KEY.format(session_id))
                pipe.zrem(INDEX.format(owner), session_id)
                await pipe.execute()

    async def ready(self) -> bool:
        try:
            with redis_errors():
                await self._redis.echo(b"ready")
        except StateUnavailable:
            return False
        return True


def _parsed(stored: bytes, session_id: str) -> Session | None:
    try:
        return Session.model_validate_json(stored)
    except ValidationError:
        _log.warning("unreadable_session", session_id=session_id)
        return None
