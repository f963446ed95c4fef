"""Gateways that share a Redis, and skills that take their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from gateway_fakes import FakePlanner, FakeSkills, FakeWeb, data_url, picture

from gateway.app import create_app
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from gateway.state.job_models import JobWork
from gateway.wiring import parts_around
from services.core.context import CallContext
from services.core.spec import Symbol

READING = {"tool": "reader", "input": {"image": data_url(picture())}}
WORK = JobWork(tool="reader", body={})


@dataclass
class SlowSkills(FakeSkills):
    """Calls wait until they `may` end; `began` is set by each, `stopped` by those that are cancelled."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.began.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return await super().call(skill, args, images, context)


@dataclass
class Platform:
    """Gateways around one Redis; each lives in a task of its own until `stop`."""

    redis_url: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @asynccontextmanager
    async def running(
        self, skills: FakeSkills, telling: Any = None, **settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        given = {"job_beat_s": 0.05, "job_poll_s": 0.05, "redis_url": self.redis_url, "fetch_enabled": False}
        parts = parts_around(GatewaySettings(**given | settings), lambda _: skills, FakePlanner())
        web = FakeWeb({"https://pictures.test/a.png": picture(color="green")})
        app = create_app(replace(parts, progress=telling or parts.progress, fetcher=web))
        transport = httpx.ASGITransport(app=app)
        try:
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
            ):
                yield client
        finally:
            await parts.close()

    async def gateway(
        self, skills: FakeSkills | None = None, telling: Any = None, **settings: Any
    ) -> httpx.AsyncClient:
        ready: asyncio.Future[httpx.AsyncClient] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            async with self.running(skills or FakeSkills(), telling, **settings) as client:
                ready.set_result(client)
                await self.stop.wait()

        self.tasks.append(asyncio.create_task(live()))
        await asyncio.wait((ready, self.tasks[-1]), return_when=asyncio.FIRST_COMPLETED)
        return ready.result()


async def until(
    client: httpx.AsyncClient, job_id: str, wanted: Callable[[dict[str, Any]], bool], deadline_s: float = 20.0
) -> dict[str, Any]:
    async with asyncio.timeout(deadline_s):
        while True:
            job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
            if wanted(job):
                return job
            await asyncio.sleep(0.01)


def over(job: dict[str, Any]) -> bool:
    return job["status"] not in ("queued", "running")


async def submit(client: httpx.AsyncClient, body: Any = READING, **headers: str) -> str:
    response = await client.post("/v1/jobs", json=body, headers=headers)
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id
