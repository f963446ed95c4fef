"""The gateway of a profile: the skills it offers, in the applications it names, with its planner."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator

from fastapi import FastAPI

from deploy.profile import PLANNER_APPLICATION, PlannerConfig, Profile, load_profile
from gateway import app as gateway_app
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from gateway.skill_client import ServeSkillClient
from gateway.wiring import parts_around
from planner.api import Planner, PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.serve_engine import ServeEngine
from services.core.context import CallContext
from services.core.handles import AppStatus
from services.core.loading import load_skill
from services.core.logs import configure_logs


def create_app() -> FastAPI:
    """For uvicorn: the gateway of the profile that LLAVA_PLUS_PROFILE names, on the Ray of RAY_ADDRESS."""
    configure_logs("gateway")
    profile = load_profile(GatewaySettings().profile)
    skills = [
        (load_skill(name, config.skill_class).spec(), application.name)
        for application in profile.applications
        for name, config in application.skills.items()
    ]

    async def make_parts(settings: GatewaySettings) -> GatewayParts:
        # Ray puts its own handlers in the place of uvicorn's, which finish running requests.
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        await asyncio.to_thread(connect_ray)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        status = AppStatus()
        return parts_around(settings, ServeSkillClient(skills, status), planner_of(profile, status))

    return gateway_app.create_app(make_parts=make_parts, specs=[spec for spec, _ in skills])


def connect_ray() -> None:
    """Join the cluster that RAY_ADDRESS names."""
    import ray

    ray.init(address=os.environ["RAY_ADDRESS"], namespace="llava-plus", log_to_driver=False, configure_logging=False)


def planner_of(profile: Profile, status: AppStatus) -> Planner:
    """The client of the profile's planner, or a stand-in that says that there is none."""
    config: PlannerConfig | None = profile.planner
    if config is None:
        return NoPlanner()
    return PlannerClient(ServeEngine(PLANNER_APPLICATION, status), dialect(config.dialect), config.served_name)


class NoPlanner:
    """Implements `planner.api.Planner` where a profile offers tools alone."""

    model = "none"

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        raise PlannerUnavailable("This deployment has no planner: its profile offers tools alone.")
        yield  # makes it a generator

    async def ready(self) -> bool:
        return True
