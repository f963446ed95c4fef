"""Sessions in Redis: one JSON document each, renewed by every use."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from gateway.errors import SessionNotFound, StateUnavailable
from gateway.settings import GatewaySettings
from gateway.state.history import trimmed
from gateway.state.models import Session
from gateway.state.redis_errors import redis_errors

KEY = "session:{}"
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

    async def create(self, *, owner: str) -> Session:
        """A new session, not stored yet. Its id is random: nobody can guess another's."""
        return Session(id=f"sess_{secrets.token_hex(16)}", owner=owner, created=time.time())

    async def get(self, session_id: str, *, owner: str) -> Session:
        stored = None
        if _ID.fullmatch(session_id):
            with redis_errors():
                stored = await self._redis.getex(KEY.format(session_id), ex=self._settings.session_ttl_s)
        session = _parsed(stored, session_id) if isinstance(stored, bytes) else None
        if session is None or session.owner != owner:
            raise SessionNotFound(
                "No such session: it expired or never was. Leave session_id out to start a new one.",
                param="session_id",
            )
        return session

    async def save(self, session: Session) -> None:
        """Store the session, without what `history_turns_max` leaves behind."""
        turns_max = self._settings.history_turns_max
        kept = trimmed(session, turns_max, turns_max * self._settings.images_per_message_max)
        with redis_errors():
            await self._redis.set(KEY.format(session.id), kept.model_dump_json(), ex=self._settings.session_ttl_s)

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
