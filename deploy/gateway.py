"""The gateway of a deployment: the one place where a profile meets the gateway's parts.

Run it with any ASGI server: `uvicorn --factory deploy.gateway:create_app`.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from dataclasses import replace

from fastapi import FastAPI

from deploy.profile import PLANNER_APPLICATION, PlannerConfig, Profile, load_profile
from gateway import app as gateway_app
from gateway.cached_skills import Weights
from gateway.parts import GatewayParts
from gateway.planner_tools import PlannerTools
from gateway.settings import GatewaySettings
from gateway.skill_client import ServeSkillClient
from gateway.wiring import parts_around, redis_client
from planner.adapters import AdapterRegistry
from planner.api import Planner, PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.serve_engine import ServeEngine
from services.core.context import CallContext
from services.core.handles import AppStatus
from services.core.loading import load_skill
from services.core.logs import configure_logs
from services.core.skill import Skill
from services.core.spec import SkillSpec


def create_app() -> FastAPI:
    """The ASGI application for the profile that `LLAVA_PLUS_PROFILE` names."""
    profile = load_profile(GatewaySettings().profile)
    skills = offered_skills(profile)

    async def make_parts(settings: GatewaySettings) -> GatewayParts:
        configure_logs("gateway")
        await _connected()
        status = AppStatus()
        if settings.planner_url or profile.planner is None or not profile.planner.engine.adapters_max:
            return around(settings, status, None)
        redis = redis_client(settings)
        registry = AdapterRegistry(redis)
        parts = around(settings, status, registry)

        async def names() -> list[str]:
            return [adapter.name for adapter in await registry.all()]

        async def close() -> None:
            await parts.close()
            await redis.aclose()

        return replace(parts, adapters=names, close=close)

    def around(settings: GatewaySettings, status: AppStatus, adapters: AdapterRegistry | None) -> GatewayParts:
        planner = None if settings.planner_url else _planner(profile.planner, status, adapters)
        return parts_around(
            settings,
            lambda images: ServeSkillClient(skills, status, images),
            planner,
            configured_weights(profile),
            planner_tools(profile.planner),
        )

    return gateway_app.create_app(make_parts=make_parts, specs=[spec for spec, _ in skills])


def offered_skills(profile: Profile) -> list[tuple[SkillSpec, str]]:
    """The spec of every skill in the profile, with the Serve application that hosts it."""
    return [
        (load_skill(name, config.skill_class).spec(), application.name)
        for application in profile.applications
        for name, config in application.skills.items()
    ]


def configured_weights(profile: Profile) -> dict[str, Weights]:
    """What every skill of the profile answers with, for the keys of cached results; a composite with its parts'."""
    own: dict[str, Weights] = {}
    composites: dict[str, tuple[str, ...]] = {}
    for application in profile.applications:
        for name, config in application.skills.items():
            skill = load_skill(name, config.skill_class)
            if issubclass(skill, Skill):
                checkpoint = config.checkpoint or skill.default_checkpoint
                own[name] = Weights(frozenset({checkpoint}), json.dumps(config.options, sort_keys=True, default=str))
            else:
                composites[name] = skill.spec().parts
    for name, parts in composites.items():
        used = [own[part] for part in parts if part in own]
        checkpoints = frozenset[str]().union(*(weights.checkpoints for weights in used))
        own[name] = Weights(checkpoints, json.dumps([weights.settings for weights in used]))
    return own


def planner_tools(config: PlannerConfig | None) -> PlannerTools:
    """What the profile's planner knows about each tool."""
    if config is None:
        return PlannerTools(told=frozenset())
    told = frozenset(config.skills) if config.skills is not None else None
    return PlannerTools(told, frozenset(config.learned))


class NoPlanner:
    """Stands in where a profile has no planner: tools work, chat says why it does not."""

    model = "none"

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        raise PlannerUnavailable("This deployment has no planner: call tools directly, or add one to its profile.")
        yield  # an async generator, as the protocol asks

    async def ready(self) -> bool:
        return True


def _planner(config: PlannerConfig | None, status: AppStatus, adapters: AdapterRegistry | None) -> Planner:
    if config is None:
        return NoPlanner()
    engine = ServeEngine(PLANNER_APPLICATION, status)
    told = planner_tools(config).told
    return PlannerClient(engine, dialect(config.dialect, config.learned), config.served_name, told, adapters)


async def _connected() -> None:
    """Join the cluster that RAY_ADDRESS names, or the one on this machine."""
    # Ray puts its own handlers in the place of uvicorn's, which let running requests finish.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    await asyncio.to_thread(_connect)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _connect() -> None:
    import ray

    if not ray.is_initialized():
        ray.init(address="auto", namespace="llava-plus", log_to_driver=False, configure_logging=False)
