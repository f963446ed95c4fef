"""Probes and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from gateway.parts import GatewayParts, metrics_of, parts_of
from gateway.responses import FastJson

router = APIRouter(tags=["health"])
T = TypeVar("T")
_log = structlog.get_logger("gateway.health")


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """Ready when every part is. `state` is Redis."""

    ready: bool
    planner: bool
    state: bool
    skills: dict[str, bool]


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """The process lives."""
    return FastJson({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
async def readyz(request: Request) -> Response:
    """Whether requests would be answered now: 200 when planner, Redis and every skill are ready, else 503."""
    found = await readiness(parts_of(request))
    return FastJson(found.model_dump(), status_code=200 if found.ready else 503)


async def readiness(parts: GatewayParts) -> Readiness:
    """Asks every part, each for `ready_timeout_s` at most; raises nothing."""
    timeout_s = parts.settings.ready_timeout_s
    planner, state, skills = await asyncio.gather(
        _asked("planner", parts.planner.ready(), False, timeout_s),
        _asked("state", parts.sessions.ready(), False, timeout_s),
        _asked("skills", parts.skills.ready(), dict[str, bool](), timeout_s),
    )
    offered = {spec.name: skills.get(spec.name, False) for spec in parts.skills.specs()}
    return Readiness(ready=planner and state and all(offered.values()), planner=planner, state=state, skills=offered)


async def _asked(part: str, answer: Awaitable[T], otherwise: T, timeout_s: float) -> T:
    """The part's own word; one that does not answer, or cannot, is not ready."""
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except Exception as error:  # noqa: BLE001 - a probe answers whatever breaks
        _log.warning("readiness_unknown", part=part, exc_info=error)
        return otherwise


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(metrics_of(request).registry), headers={"Content-Type": content_type})
