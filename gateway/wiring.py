"""The production parts: state in Redis and the orchestrator, around given skills and planner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from redis.asyncio import BlockingConnectionPool, Redis

from gateway.cached_skills import CachedSkills, Weights
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.parts import GatewayParts
from gateway.planner_tools import TOLD_OF_ALL, PlannerTools
from gateway.ports import ImageStore, Planner, SkillClient
from gateway.security.fetch import guarded_fetch
from gateway.settings import GatewaySettings
from gateway.state.answers import RedisAnswerStore
from gateway.state.images import RedisImageStore
from gateway.state.jobs import RedisJobStore
from gateway.state.progress import RedisProgress
from gateway.state.results import RedisResultsCache
from gateway.state.sessions import RedisSessionStore
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.openai_engine import OpenAIEngine


def redis_client(settings: GatewaySettings) -> Redis:
    """A client that returns bytes and waits for no answer, and no free connection, longer than `redis_timeout_s`."""
    timeout_s = settings.redis_timeout_s
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=settings.redis_connections_max,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    return Redis.from_pool(pool)


def parts_around(
    settings: GatewaySettings,
    skills_with: Callable[[ImageStore], SkillClient],
    planner: Planner | None,
    weights: Mapping[str, Weights] | None = None,
    planner_tools: PlannerTools = TOLD_OF_ALL,
) -> GatewayParts:
    """The parts with state in Redis, around the given planner and the skills that `skills_with` a store makes.

    Results of the skills in `weights` are cached. A planner that the settings name goes before the given one, which
    knows of its tools what `planner_tools` says; the other is told of all.

    Raises:
        ValueError: there is no planner at all.
    """
    redis = redis_client(settings)
    images = RedisImageStore(redis, settings)
    engine = _endpoint(settings, redis)
    if engine is not None:
        planner = PlannerClient(engine, dialect(settings.planner_dialect), settings.planner_model or "external")
    if planner is None:
        raise ValueError("parts_around needs a planner, or one that settings.planner_url names.")

    fetcher = guarded_fetch(settings)

    async def close() -> None:
        if engine is not None:
            await engine.close()
        if fetcher is not None:
            fetcher.close()
        await redis.aclose()

    skills = CachedSkills(skills_with(images), RedisResultsCache(redis, settings), images, weights or {})
    return GatewayParts(
        planner=planner,
        skills=skills,
        images=images,
        sessions=RedisSessionStore(redis, settings),
        answers=RedisAnswerStore(redis, settings),
        orchestrator=Orchestrator(planner, skills, images, settings),
        jobs=RedisJobStore(redis, settings),
        settings=settings,
        fetcher=fetcher,
        progress=RedisProgress(redis),
        planner_tools=planner_tools if engine is None else TOLD_OF_ALL,
        close=close,
    )


def _endpoint(settings: GatewaySettings, redis: Redis) -> OpenAIEngine | None:
    if settings.planner_url is None:
        return None
    key = settings.planner_api_key.get_secret_value() if settings.planner_api_key else None
    return OpenAIEngine(settings.planner_url, settings.planner_model, redis, key)
