"""The gRPC server beside the HTTP one, in the same process and event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.api.grpc.health import PLATFORM, Health
from gateway.api.grpc.service import PlatformService
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from llava_plus.v1.platform_pb2_grpc import add_PlatformServicer_to_server

_log = structlog.get_logger("gateway.grpc")


class PortTaken(Exception):
    """The server cannot listen where it is told to."""


@asynccontextmanager
async def configured_grpc_server(parts: GatewayParts, metrics: GatewayMetrics) -> AsyncIterator[None]:
    """The server where the settings put it; none where `grpc_port` is 0."""
    settings = parts.settings
    if settings.grpc_port == 0:
        yield
        return
    host = f"[{settings.grpc_host}]" if ":" in settings.grpc_host else settings.grpc_host
    async with grpc_server(parts, metrics, f"{host}:{settings.grpc_port}"):
        yield


@asynccontextmanager
async def grpc_server(parts: GatewayParts, metrics: GatewayMetrics, address: str) -> AsyncIterator[int]:
    """Serve while the block runs; calls that are still answered at its end have `grpc_grace_s` seconds.

    Args:
        address: `host:port`; port 0 is any free one.

    Yields:
        The port.

    Raises:
        PortTaken: something else listens there.
    """
    settings = parts.settings
    server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=settings.grpc_calls_max)
    add_PlatformServicer_to_server(PlatformService(parts, metrics), server)
    health_pb2_grpc.add_HealthServicer_to_server(Health(parts, settings.grpc_watch_every_s), server)
    reflection.enable_server_reflection((PLATFORM, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(
            f"gRPC cannot listen on {address}: set LLAVA_PLUS_GRPC_PORT to a free port, or to 0."
        ) from error
    await server.start()
    _log.info("grpc_listening", address=address, port=port)
    try:
        yield port
    finally:
        await server.stop(settings.grpc_grace_s)


def _options(settings: GatewaySettings) -> list[tuple[str, int]]:
    keepalive_ms = round(settings.grpc_keepalive_s * 1000)
    return [
        ("grpc.max_receive_message_length", settings.grpc_message_bytes_max),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", round(settings.grpc_keepalive_timeout_s * 1000)),
        # Clients may ask as often as the server does, also between calls.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", keepalive_ms // 2),
        ("grpc.keepalive_permit_without_calls", 1),
        # A port that is taken is an error, and not shared.
        ("grpc.so_reuseport", 0),
    ]
