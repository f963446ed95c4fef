"""The gateway as a child process: started, probed, and restarted when it dies (its state is in Redis)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.children import Child
from deploy.errors import ComponentFailed
from deploy.progress import Progress
from deploy.settings import DeploySettings

_PROBE_EVERY_S = 0.3


class GatewayProcess:
    """uvicorn with the gateway's application.

    Args:
        fail: called when the gateway cannot be kept running.
    """

    def __init__(
        self, settings: DeploySettings, log: Path, progress: Progress, fail: Callable[[ComponentFailed], None]
    ) -> None:
        self._settings = settings
        self._log = log
        self._progress = progress
        self._fail = fail
        self._child: Child | None = None
        self._environment: dict[str, str] = {}
        self._keeper: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Base URL, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._settings.host, self._settings.host)
        return f"http://{host}:{self._settings.port}"

    async def start(self, environment: Mapping[str, str]) -> None:
        self._environment = {**environment, "LLAVA_PLUS_GRPC_PORT": str(self._settings.chosen_grpc_port)}
        self._progress.set("gateway", "loading", "starting")
        await self._start_child()

    async def wait_ready(self) -> None:
        """Until `GET /readyz` answers 200.

        Raises:
            ComponentFailed: the process died before.
        """
        import httpx

        assert self._child is not None
        self._progress.set("gateway", "loading", "waiting for the others")
        async with httpx.AsyncClient(timeout=self._settings.probe_timeout_s, trust_env=False) as client:
            while self._child.running:
                try:
                    if (await client.get(f"{self.address}/readyz")).status_code == httpx.codes.OK:
                        grpc_port = self._settings.chosen_grpc_port
                        grpc = f", gRPC on port {grpc_port}" if grpc_port else ""
                        self._progress.set("gateway", "ready", self.address + grpc)
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(_PROBE_EVERY_S)
        raise self._child.death()

    def keep_alive(self) -> None:
        """From now on restart the gateway when it dies."""
        self._keeper = asyncio.ensure_future(self._keep())

    async def stop(self, grace_s: float, hasten: asyncio.Event) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        if self._child is not None:
            await self._child.stop(grace_s, hasten)

    async def _keep(self) -> None:
        deaths: deque[float] = deque(maxlen=self._settings.gateway_restarts_per_minute_max)
        while True:
            assert self._child is not None
            await self._child.wait()
            death = self._child.death()
            now = time.monotonic()
            if len(deaths) == deaths.maxlen and now - deaths[0] < 60:
                self._fail(ComponentFailed(f"{death} It died {len(deaths) + 1} times within a minute.", death.log_tail))
                return
            deaths.append(now)
            self._progress.say(f"{death} Restarting it.")
            await self._start_child()

    async def _start_child(self) -> None:
        settings = self._settings
        options = {
            "--host": settings.host,
            "--port": str(settings.port),
            "--timeout-graceful-shutdown": str(round(settings.gateway_grace_s)),
            "--log-level": "warning",
        }
        command = [sys.executable, "-m", "deploy.gateway_server", "--factory", settings.gateway_app, "--no-access-log"]
        command += [part for option in options.items() for part in option]
        self._child = await Child.start("gateway", command, env=self._environment, log=self._log)
