"""Steps that a skill reports are to be read while its call runs, and not longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.state.job_models import Progress
from gateway.state.progress import RedisProgress
from services.core.progress import PROGRESS_KEY, told
from services.core.server import SkillServer
from tests.skill_examples import Stepper

NOWHERE = "redis://127.0.0.1:1/0"
STEPPER = {"stepper": {"class": "tests.skill_examples:Stepper"}}


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis_url) as client:
        yield client


def request(text: str = "hi", request_id: str = "job_1") -> dict[str, object]:
    call = {"skill": "stepper", "args": {"text": text}, "images": {}, "request_id": request_id}
    return call | {"deadline": time.time() + 30.0}


async def seen(source: RedisProgress, request_id: str) -> Progress:
    async with asyncio.timeout(10):
        while True:
            if found := await source.progress(request_id):
                return found
            await asyncio.sleep(0.01)


def stepper_of(server: SkillServer) -> Stepper:
    skill = server._lanes["stepper"].skill
    assert isinstance(skill, Stepper)
    return skill


async def test_the_steps_of_a_call_are_seen_until_it_has_ended(redis: Redis, empty_redis_url: str) -> None:
    server, source = SkillServer(STEPPER, empty_redis_url, 2**20), RedisProgress(redis)
    skill = stepper_of(server)
    skill.gate.clear()
    call = asyncio.create_task(server.call(request()))
    try:
        assert await seen(source, "job_1") == Progress(step=1, steps=3, message="running stepper")
        assert await source.progress("job_2") is None
        assert 0 < await redis.ttl(PROGRESS_KEY.format("job_1")) <= 60
    finally:
        skill.gate.set()
    assert (await call)["error"] is None
    assert await source.progress("job_1") is None
    await server.close()


async def test_a_call_that_nobody_waits_for_any_more_is_not_told_on(redis: Redis, empty_redis_url: str) -> None:
    server, source = SkillServer(STEPPER, empty_redis_url, 2**20), RedisProgress(redis)
    skill = stepper_of(server)
    skill.gate.clear()
    call = asyncio.create_task(server.call(request()))
    await seen(source, "job_1")
    call.cancel()
    await asyncio.wait((call,))
    skill.gate.set()
    assert (await server.call(request("next", "job_2")))["error"] is None, "the first one's steps are over too"
    assert await redis.keys("progress:*") == []
    await server.close()


async def test_a_skill_that_outlives_its_loop_may_still_report() -> None:
    async with told(Redis.from_url(NOWHERE), "stepper", "job_1") as report:
        pass
    report(1, 3)


async def test_progress_that_cannot_be_written_or_read_is_no_error() -> None:
    server = SkillServer(STEPPER, NOWHERE, 2**20)
    assert (await server.call(request()))["error"] is None
    await server.close()
    async with Redis.from_url(NOWHERE) as nowhere:
        assert await RedisProgress(nowhere).progress("job_1") is None


@pytest.mark.parametrize("noted", [b"nonsense", b'{"skill": "x", "step": -1, "steps": 3}', b"{}"])
async def test_a_note_that_is_none_says_nothing(redis: Redis, noted: bytes) -> None:
    await redis.set(PROGRESS_KEY.format("job_1"), noted)
    assert await RedisProgress(redis).progress("job_1") is None
