"""The gateway as an ASGI app: wiring only. Run it with any ASGI server, or inside Ray Serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from gateway import error_handlers
from gateway.api import chat, health, images, jobs, models, sessions, tools, web
from gateway.api.grpc.server import configured_grpc_server
from gateway.api.job_work import job_runner
from gateway.api.mcp.http import McpEndpoint
from gateway.api.mcp.http import install as install_mcp
from gateway.metrics import GatewayMetrics
from gateway.middleware import AccessLog, BodyLimit, LastResort, RequestId
from gateway.parts import GatewayParts, nothing_to_close
from gateway.responses import ERROR_RESPONSES
from gateway.settings import GatewaySettings
from services.core.spec import SkillSpec

__all__ = ["GatewayParts", "MakeParts", "create_app"]

MakeParts = Callable[[GatewaySettings], Awaitable[GatewayParts]]


def create_app(
    parts: GatewayParts | None = None,
    *,
    make_parts: MakeParts | None = None,
    specs: Sequence[SkillSpec] | None = None,
) -> FastAPI:
    """The gateway on the given parts, or on those that `make_parts` makes when the server starts.

    Args:
        parts: ready-made parts, closed by whoever made them.
        make_parts: makes the parts inside the server's event loop; they are closed when the server stops.
        specs: the skills that get a typed route; those of `parts` by default.
    """
    if parts is not None:
        make_parts = _given(parts)
    elif make_parts is None:
        raise TypeError("create_app needs `parts` or `make_parts`.")
    settings = parts.settings if parts is not None else GatewaySettings()
    if specs is None:
        specs = parts.skills.specs() if parts is not None else ()
    metrics = GatewayMetrics()
    mcp = McpEndpoint()
    app = FastAPI(
        title="LLaVA-Plus",
        summary="A multimodal planner that uses vision tools, and the tools one by one.",
        version=_version(),
        lifespan=_lifespan(make_parts, settings, mcp),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=dict(ERROR_RESPONSES),
    )
    app.state.parts = parts
    app.state.metrics = metrics
    app.state.jobs = None
    app.include_router(chat.router)
    app.include_router(tools.router(specs))
    for module in (images, sessions, jobs, models, health):
        app.include_router(module.router)
    install_mcp(app, mcp)
    app.include_router(web.router())
    error_handlers.install(app)
    app.add_middleware(LastResort)
    app.add_middleware(BodyLimit, bytes_max=settings.body_bytes_max)
    app.add_middleware(AccessLog, metrics=metrics)
    app.add_middleware(RequestId)
    return app


def _given(parts: GatewayParts) -> MakeParts:
    async def make_parts(_: GatewaySettings) -> GatewayParts:
        return replace(parts, close=nothing_to_close)

    return make_parts


def _lifespan(
    make_parts: MakeParts, settings: GatewaySettings, mcp: McpEndpoint
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            parts = await make_parts(settings)
            running.push_async_callback(parts.close)
            app.state.parts = parts
            await running.enter_async_context(configured_grpc_server(parts, app.state.metrics))
            await running.enter_async_context(mcp.serving(parts, app.state.metrics, app.version))
            app.state.jobs = job_runner(parts, app.state.metrics)
            await running.enter_async_context(app.state.jobs.running())
            yield

    return lifespan


def _version() -> str:
    try:
        return version("llava-plus-platform")
    except PackageNotFoundError:
        return "0"
