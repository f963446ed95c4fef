"""The gateway as the supervisor's child."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.errors import ComponentFailed
from deploy.gateway_process import GatewayProcess
from deploy.progress import Progress
from deploy.settings import DeploySettings
from tests.conftest import free_port


async def test_it_serves_http_mcp_and_grpc_where_the_settings_put_them(tmp_path: Path) -> None:
    failures: list[ComponentFailed] = []
    settings = DeploySettings(
        port=free_port(), grpc_port=free_port(), gateway_app="tests.integration.fake_gateway:create_app"
    )
    shown = io.StringIO()
    with Progress(shown) as progress:
        progress.expect("gateway")
        process = GatewayProcess(settings, tmp_path / "gateway.log", progress, failures.append)
        await process.start(os.environ)
        try:
            await process.wait_ready()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            async with httpx.AsyncClient(trust_env=False) as client:
                mcp = await client.post(f"{process.address}/mcp", json={}, headers={"Host": "evil.example"})
        finally:
            await process.stop(10.0, asyncio.Event())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert mcp.status_code == 421
    assert f"gRPC on port {settings.grpc_port}" in shown.getvalue()
    assert failures == []
