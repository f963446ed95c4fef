"""What the HTTP layer is wired to, and how a request reaches it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request

from gateway.metrics import GatewayMetrics
from gateway.planner_tools import TOLD_OF_ALL, PlannerTools
from gateway.ports import (
    AnswerStore,
    Fetcher,
    ImageStore,
    JobStore,
    Planner,
    ProgressSource,
    SessionStore,
    SkillClient,
    TurnRunner,
)
from gateway.request_headers import wants_fresh
from gateway.settings import GatewaySettings
from services.core.context import CallContext

ANONYMOUS = "anonymous"
"""The owner of everything while the platform knows no API keys."""


async def nothing_to_close() -> None:
    return None


async def no_adapters() -> Sequence[str]:
    """What a planner without adapters has."""
    return ()


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """The ports' implementations; tests inject fakes. `close` frees what they hold.

    Attributes:
        fetcher: None where pictures are not fetched from URLs.
        progress: None where no skill tells how far it is.
        adapters: names of the planner's adapters as they are now.
        planner_tools: what the planner knows about each tool.
    """

    planner: Planner
    skills: SkillClient
    images: ImageStore
    sessions: SessionStore
    answers: AnswerStore
    orchestrator: TurnRunner
    jobs: JobStore
    settings: GatewaySettings
    fetcher: Fetcher | None = None
    progress: ProgressSource | None = None
    adapters: Callable[[], Awaitable[Sequence[str]]] = no_adapters
    planner_tools: PlannerTools = TOLD_OF_ALL
    close: Callable[[], Awaitable[None]] = nothing_to_close


def parts_of(request: Request) -> GatewayParts:
    parts: GatewayParts = request.app.state.parts
    return parts


def metrics_of(request: Request) -> GatewayMetrics:
    metrics: GatewayMetrics = request.app.state.metrics
    return metrics


def call_context(request: Request, deadline_s: float) -> CallContext:
    """The context of the calls that this request makes, with `deadline_s` seconds to live.

    `Cache-Control: no-cache` asks for fresh results.
    """
    return CallContext(
        request_id=request.state.request_id,
        owner=ANONYMOUS,
        deadline=time.time() + deadline_s,
        fresh=wants_fresh(request.headers.get("cache-control", "")),
    )
