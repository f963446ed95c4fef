"""MCP's streamable HTTP transport at /mcp. No state is kept between requests, so that any gateway can answer any."""

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
        manager = StreamableHTTPSessionManager(
            mcp_server(parts, metrics, version),
            stateless=True,
            security_settings=_security(parts.settings.mcp_hosts),
            max_request_body_size=parts.settings.body_bytes_max,
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
