"""The production parts: state in Redis, skills and planner on Ray Serve, the orchestrator."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import BlockingConnectionPool, Redis

from gateway.orchestrator.orchestrator import Orchestrator
from gateway.parts import GatewayParts
from gateway.ports import Planner, SkillClient
from gateway.settings import GatewaySettings
from gateway.skill_client import ServeSkillClient
from gateway.state.images import RedisImageStore
from gateway.state.sessions import RedisSessionStore
from planner.client import PlannerClient
from planner.dialects.base import Dialect
from planner.dialects.json_dialect import JsonDialect
from planner.serve_engine import ServeEngine
from services.core.handles import AppStatus
from services.core.registry import discover


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


def parts_around(settings: GatewaySettings, skills: SkillClient, planner: Planner) -> GatewayParts:
    """The parts with state in Redis, around the given skills and planner."""
    redis = redis_client(settings)
    return GatewayParts(
        planner=planner,
        skills=skills,
        images=RedisImageStore(redis, settings),
        sessions=RedisSessionStore(redis, settings),
        orchestrator=Orchestrator(planner, skills, settings),
        settings=settings,
        close=redis.aclose,
    )


def serve_parts(
    settings: GatewaySettings,
    *,
    applications: Mapping[str, str],
    planner_application: str = "planner",
    dialect: Dialect | None = None,
    model: str = "llava-plus",
) -> GatewayParts:
    """The parts over Ray Serve.

    Connects to nothing yet: Redis and Serve are first spoken to by the first request, and may come
    up after the gateway.

    Args:
        applications: offered skill -> the Serve application that hosts it.
        planner_application: the Serve application with the planner's engine.
        dialect: the form that the planner's model was trained on; ours by default.
        model: the planner's name in the API.
    """
    registry = discover()
    status = AppStatus()
    skills = ServeSkillClient([(registry.spec(name), app) for name, app in applications.items()], status)
    planner = PlannerClient(ServeEngine(planner_application, status), dialect or JsonDialect(), model)
    return parts_around(settings, skills, planner)


async def production_parts(settings: GatewaySettings) -> GatewayParts:
    """Every installed skill in a Serve application of its own name, and the planner in `planner`.

    A deployment with another layout gives `create_app` its own function, made of `serve_parts`.
    """
    return serve_parts(settings, applications={spec.name: spec.name for spec in discover().specs()})
