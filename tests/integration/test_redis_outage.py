"""Redis goes silent in the middle of a turn: the turn loses what it wanted to store, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from gateway_fakes import data_url, picture, question
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from services.core.context import CallContext
from tests.orchestration_fakes import Script, Skills, act, answer

# Connections that redis-py gives up on while Redis is silent are closed by the garbage collector, and so are those that
# earlier tests left behind: it runs here.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SILENT_MS = 1_500
TIMEOUT_S = 0.3


@asynccontextmanager
async def gateway(url: str, planner: Any, skills: Skills) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway in this process that does not wait long for Redis."""
    parts = parts_around(GatewaySettings(redis_url=url, redis_timeout_s=TIMEOUT_S), lambda _: skills, planner)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway") as it:
        yield it
    await parts.close()
    gc.collect()


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis_url) as client:
        yield client


def silences(redis: Redis) -> Callable[[], Awaitable[None]]:
    """Has Redis answer nobody for a while, as when it swaps or its host hangs."""

    async def pause() -> None:
        await redis.execute_command("CLIENT", "PAUSE", str(SILENT_MS), "ALL")

    return pause


class Patient(Script):
    """Writes its last answer when Redis answers again."""

    def __init__(self, redis: Redis, *script: Any) -> None:
        super().__init__(*script)
        self._redis = redis

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        await self._redis.echo(b"are you there?")
        async for said in super().plan(request, context):
            yield said


async def test_a_mask_that_cannot_be_kept_is_told_and_the_turn_is_stored_when_redis_is_back(
    empty_redis_url: str, redis: Redis
) -> None:
    planner = Patient(redis, act(("cut", {})), answer("Here it is."))
    async with gateway(empty_redis_url, planner, Skills(before={"cut": silences(redis)})) as client:
        asked = {"messages": [question("Cut it out.", data_url(picture()))]}
        answered = await client.post("/v1/chat/completions", json=asked)
        kept = await client.get(f"/v1/sessions/{answered.json()['session_id']}")
    assert answered.status_code == 200
    said = answered.json()["choices"][0]["message"]["content"]
    assert said == "Here it is.\n\nNot done: cut (it is not available now)."
    assert kept.json()["turns"][0]["answer"] == said


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_cannot_be_stored_is_an_error_that_says_to_try_again(
    empty_redis_url: str, redis: Redis, stream: bool
) -> None:
    planner = Script(act(("find", {"caption": "cat"})), answer("Two."))
    async with gateway(empty_redis_url, planner, Skills(before={"find": silences(redis)})) as client:
        asked = {"messages": [question("Find the cat.", data_url(picture()))], "stream": stream}
        answered = await client.post("/v1/chat/completions", json=asked)
    assert '"code":"state_unavailable"' in answered.text
    assert answered.status_code == (200 if stream else 503)
    assert ("Two." in answered.text) is stream
    await redis.echo(b"the next test finds it awake")
