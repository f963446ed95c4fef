"""grpc.health.v1 with the word of /readyz."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.api.grpc.calls import Context
from gateway.api.health import readiness
from gateway.parts import GatewayParts
from llava_plus.v1 import platform_pb2 as pb

Response = health_pb2.HealthCheckResponse
PLATFORM = pb.DESCRIPTOR.services_by_name["Platform"].full_name
_SERVICES = ("", PLATFORM)
# The package's types are older than its `List`.
_messages: Any = health_pb2


class Health(health_pb2_grpc.HealthServicer):
    """Serving when planner, store and every skill are ready.

    Args:
        watch_every_s: how often it looks for those who watch, seconds.
    """

    def __init__(self, parts: GatewayParts, watch_every_s: float) -> None:
        self._parts = parts
        self._watch_every_s = watch_every_s

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Response:
        if request.service not in _SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no service {request.service!r} here.")
        return await self._now()

    async def List(self, request: Any, context: Context) -> Any:
        now = await self._now()
        return _messages.HealthListResponse(statuses=dict.fromkeys(_SERVICES, now))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        told: Response | None = None
        while True:
            known = request.service in _SERVICES
            now = await self._now() if known else Response(status=Response.SERVICE_UNKNOWN)
            if now != told:
                await context.write(now)
                told = now
            await asyncio.sleep(self._watch_every_s)

    async def _now(self) -> Response:
        found = await readiness(self._parts)
        return Response(status=Response.SERVING if found.ready else Response.NOT_SERVING)
