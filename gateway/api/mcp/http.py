"""MCP's streamable HTTP transport at /mcp.

Clients of protocol 2026-07-28 send requests that stand alone; older ones have a session in this process' memory,
unless `mcp_sessions` is off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.api.mcp.server import mcp_server
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts


class McpEndpoint:
    """The ASGI application behind /mcp; it answers while `serving` runs."""

    def __init__(self) -> None:
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def serving(self, parts: GatewayParts, metrics: GatewayMetrics, version: str) -> AsyncIterator[None]:
        settings = parts.settings
        manager = StreamableHTTPSessionManager(
            mcp_server(parts, metrics, version),
            stateless=not settings.mcp_sessions,
            security_settings=_security(settings.mcp_hosts),
            session_idle_timeout=settings.mcp_session_idle_s,
            max_request_body_size=settings.body_bytes_max,
            max_sessions=settings.mcp_sessions_max,
        )
        async with manager.run():
            self._manager = manager
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is None:
            raise RuntimeError("The gateway's lifespan does not run: start the application with an ASGI server.")
        await self._manager.handle_request(scope, receive, send)


def install(app: Starlette, endpoint: McpEndpoint) -> None:
    app.router.routes.append(Route("/mcp", endpoint=endpoint, include_in_schema=False))


def _security(hosts: Sequence[str]) -> TransportSecuritySettings:
    """Pages of other sites, also under a name that leads here, must not reach the tools through a browser."""
    if "*" in hosts:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    named = [name for host in hosts for name in (host, f"{host}:*")]
    return TransportSecuritySettings(
        allowed_hosts=named, allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in named]
    )
