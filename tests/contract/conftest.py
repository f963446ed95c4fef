"""A gateway as clients see it: uvicorn on loopback, real Redis, fakes for planner and skills."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import httpx
import pytest
import uvicorn
from gateway_fakes import FakePlanner, FakeSkills, FakeWeb

from gateway.app import create_app
from gateway.parts import GatewayParts
from gateway.ports import Fetcher, ImageStore, Planner, SkillClient
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from tests.conftest import free_port


@dataclass(frozen=True)
class RunningGateway:
    """Where a gateway listens, and the fakes behind it; `grpc` is host:port."""

    url: str
    grpc: str
    planner: FakePlanner
    skills: FakeSkills
    web: FakeWeb

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30.0)


@pytest.fixture(scope="session")
def gateway(redis_url: str) -> Iterator[RunningGateway]:
    planner, skills, web = FakePlanner(), FakeSkills(), FakeWeb()
    with served(redis_url, skills, planner, web) as (url, grpc):
        yield RunningGateway(url, grpc, planner, skills, web)


@contextmanager
def served(
    redis_url: str,
    skills: SkillClient,
    planner: Planner,
    web: Fetcher | None = None,
    skills_with: Callable[[ImageStore], SkillClient] | None = None,
) -> Iterator[tuple[str, str]]:
    """A gateway around the given skills and planner: its URL, and where gRPC is.

    Args:
        skills_with: gives the skills the store that they put pictures into.
    """
    grpc_port = free_port()

    async def make_parts(settings: GatewaySettings) -> GatewayParts:
        ours = settings.model_copy(update={"redis_url": redis_url, "grpc_port": grpc_port})
        return replace(parts_around(ours, skills_with or (lambda _: skills), planner), fetcher=web)

    app = create_app(make_parts=make_parts, specs=skills.specs())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The socket listens already: a client that comes early waits in its queue.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            # Waits for the start: gRPC listens from then on.
            httpx.get(f"{url}/healthz", timeout=30.0).raise_for_status()
            yield url, f"127.0.0.1:{grpc_port}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@pytest.fixture(scope="module")
def channel(gateway: RunningGateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def platform(channel: grpc.Channel) -> Any:
    return PlatformStub(channel)


@pytest.fixture
def skills(gateway: RunningGateway) -> Iterator[FakeSkills]:
    gateway.skills.calls.clear()
    yield gateway.skills
    gateway.skills.fails = None
    gateway.skills.available = True


@pytest.fixture
def planner(gateway: RunningGateway) -> Iterator[FakePlanner]:
    gateway.planner.cancelled.clear()
    yield gateway.planner
    gateway.planner.fails = None
