"""The gateway with the page, in a thread of its own on a free loopback port, over fakes and the real Redis."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import uvicorn

from gateway.app import create_app
from gateway.cached_skills import Weights
from gateway.parts import GatewayParts
from gateway.ports import ImageStore
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around
from tests.web.fakes import Planner, Skills

START_S = 30.0


@dataclass
class Site:
    """A running gateway; `planner` and `skills` are its fakes."""

    redis_url: str
    port: int
    planner: Planner = field(default_factory=Planner)
    skills: Skills | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def renew(self) -> None:
        """A planner as it was at first: nothing asked, nothing failing."""
        self.planner.asked.clear()
        self.planner.cancelled.clear()
        self.planner.fails = False
        self.planner.before = None
        if self.skills is not None:
            self.skills.calls.clear()

    def start(self) -> None:
        """Serve until `stop`; a site that was stopped can be started again."""
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        assert self._started.wait(START_S), "the gateway has not started"

    def stop(self, *, at_once: bool = False) -> None:
        """End; at once also what is being answered, as a crash would."""
        self._server.should_exit = True
        self._server.force_exit = at_once
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the gateway has not stopped"

    async def _serve(self) -> None:
        app = create_app(make_parts=self._parts, specs=Skills(None).specs())  # type: ignore[arg-type]
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="on")
        self._server = _Server(config, self._started)
        await self._server.serve()
        # A server that ends at once leaves its answers and connections open.
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._close()

    async def _parts(self, _: GatewaySettings) -> GatewayParts:
        def skills_with(images: ImageStore) -> Skills:
            self.skills = Skills(images)
            return self.skills

        settings = GatewaySettings(redis_url=self.redis_url, lock_ttl_s=1.0)
        parts = parts_around(settings, skills_with, self.planner, {"easyocr": Weights(frozenset({"fake/weights"}))})
        self._close = parts.close
        return parts


class _Server(uvicorn.Server):
    """Tells when it takes connections, and leaves the process' signals alone."""

    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup()
        self._told.set()

    def install_signal_handlers(self) -> None:
        return None
