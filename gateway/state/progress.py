"""How far skill calls are, as their replicas note it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from gateway.errors import StateUnavailable
from gateway.state.job_models import Progress
from gateway.state.redis_errors import redis_errors
from services.core.progress import PROGRESS_KEY


class _Noted(BaseModel):
    model_config = ConfigDict(extra="ignore")

    skill: str
    step: int
    steps: int


class RedisProgress:
    """Implements `gateway.ports.ProgressSource`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def progress(self, request_id: str) -> Progress | None:
        try:
            with redis_errors():
                noted = await self._redis.get(PROGRESS_KEY.format(request_id))
            if noted is None:
                return None
            at = _Noted.model_validate_json(noted)
            return Progress(step=at.step, steps=at.steps, message=f"running {at.skill}")
        except (StateUnavailable, ValidationError):
            return None
