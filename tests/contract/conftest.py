"""A gateway as clients see it: uvicorn on loopback, real Redis, fakes for planner and skills."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from gateway_fakes import FakePlanner, FakeSkills

from gateway.app import create_app
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around


@dataclass(frozen=True)
class RunningGateway:
    url: str
    planner: FakePlanner
    skills: FakeSkills

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30.0)


@pytest.fixture(scope="session")
def gateway(redis_url: str) -> Iterator[RunningGateway]:
    planner, skills = FakePlanner(), FakeSkills()

    async def make_parts(settings: GatewaySettings) -> GatewayParts:
        return parts_around(settings.model_copy(update={"redis_url": redis_url}), lambda _: skills, planner)

    app = create_app(make_parts=make_parts, specs=skills.specs())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The socket listens already: a client that comes early waits in its queue.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield RunningGateway(f"http://127.0.0.1:{listening.getsockname()[1]}", planner, skills)
        server.should_exit = True
        thread.join(timeout=30)
