"""A message with an `Idempotency-Key` changes its session once, whatever happens to the gateway that answers it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gateway_fakes import FakePlanner, FakeSkills, question
from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.app import create_app
from gateway.errors import MessageLockLost, SessionLockLost
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.answers import RedisAnswerStore
from gateway.state.job_models import JobWork
from gateway.state.jobs import RedisJobStore
from gateway.state.sessions import RedisSessionStore
from gateway.wiring import parts_around
from planner.api import PlannerDelta, PlannerDone, PlanRequest
from services.core.context import CallContext

KEY = {"Idempotency-Key": "key-1"}


class CutOff(Connection):
    """The connections of a gateway that dies at once after it has stored something in a transaction."""

    dead = False

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if CutOff.dead:
            raise ConnectionError("this gateway is no more")
        sent = command if isinstance(command, bytes) else b"".join(command)
        await super().send_packed_command(command, check_health)
        CutOff.dead = b"MULTI" in sent and b"\r\nSET\r\n" in sent


def client_of(parts: GatewayParts) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway")


@pytest.fixture
async def parts(empty_redis_url: str) -> AsyncIterator[GatewayParts]:
    settings = GatewaySettings(redis_url=empty_redis_url, lock_ttl_s=0.3)
    parts = parts_around(settings, lambda _: FakeSkills(), FakePlanner())
    yield parts
    await parts.close()


@pytest.fixture
async def dying(parts: GatewayParts, empty_redis_url: str) -> AsyncIterator[GatewayParts]:
    CutOff.dead = False
    async with Redis.from_url(empty_redis_url, connection_class=CutOff, retry=Retry(NoBackoff(), 0)) as redis:
        sessions = RedisSessionStore(redis, parts.settings)
        yield replace(parts, sessions=sessions, answers=RedisAnswerStore(redis, parts.settings))


async def test_a_message_whose_gateway_dies_right_after_storing_the_session_is_not_run_again(
    parts: GatewayParts, dying: GatewayParts
) -> None:
    async with client_of(parts) as client, client_of(dying) as first:
        begun = (await client.post("/v1/chat/completions", json={"messages": [question("start")]})).json()
        body = {"messages": [question("Once?")], "session_id": begun["session_id"]}
        await first.post("/v1/chat/completions", json=body, headers=KEY)
        assert CutOff.dead, "the session was stored"
        again = await client.post("/v1/chat/completions", json=body, headers=KEY)
    session = await parts.sessions.get(begun["session_id"], owner=ANONYMOUS)
    assert again.status_code == 200
    assert [turn.question for turn in session.turns] == ["start", "Once?"]


@pytest.mark.parametrize("taken_by", [None, "somebody else"])
async def test_who_lost_the_lock_of_session_or_message_stores_neither(redis: Redis, taken_by: str | None) -> None:
    settings = GatewaySettings()
    sessions, answers = RedisSessionStore(redis, settings), RedisAnswerStore(redis, settings)
    session = await sessions.create(owner="me")
    async with sessions.locked(session.id) as hold, answers.answering("key", b"body", owner="me") as answering:
        answer = answering.kept({"text": "hello"})
        for lock, lost in ((hold, SessionLockLost), (answer.hold, MessageLockLost)):
            await redis.delete(lock.key)
            if taken_by is not None:
                await redis.set(lock.key, taken_by)
            with pytest.raises(lost):
                await sessions.save(session, hold=hold, answer=answer)
            await redis.set(lock.key, lock.token)
        assert not await redis.exists(answer.key, f"session:{session.id}")
        await sessions.save(session, hold=hold, answer=answer)
    async with answers.answering("key", b"body", owner="me") as again:
        assert again.known == {"text": "hello"}


async def test_who_lost_the_lock_of_a_message_queues_no_job(redis: Redis) -> None:
    settings = GatewaySettings()
    jobs, answers = RedisJobStore(redis, settings), RedisAnswerStore(redis, settings)
    work = JobWork(tool="reader", body={}, fresh=False)
    async with answers.answering("key", b"body", owner="me") as answering:
        lock = answering.kept({}).hold
        await redis.set(lock.key, "somebody else")
        with pytest.raises(MessageLockLost):
            await jobs.submit(work, owner="me", kept=answering.kept)
        assert await jobs.take() is None
        await redis.set(lock.key, lock.token)
        job = await jobs.submit(work, owner="me", kept=answering.kept)
    async with answers.answering("key", b"body", owner="me") as again:
        assert again.known == {"id": job.id}


async def test_the_lock_of_a_message_that_is_lost_is_a_conflict_that_says_to_send_it_again(
    parts: GatewayParts, redis: Redis
) -> None:
    class Slow(FakePlanner):
        async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerDelta | PlannerDone]:
            for key in await redis.keys("answer:*:lock"):
                await redis.set(key, "somebody else")
            async for event in super().plan(request, context):
                yield event

    skills = FakeSkills()
    slow = replace(parts, orchestrator=Orchestrator(Slow(), skills, parts.images, parts.settings))
    async with client_of(slow) as client:
        lost = await client.post("/v1/chat/completions", json={"messages": [question("Once?")]}, headers=KEY)
    assert (lost.status_code, lost.json()["error"]["code"]) == (409, "message_running")
    assert "send it again" in lost.json()["error"]["message"]
    assert await parts.sessions.page(owner=ANONYMOUS, limit=1) == []
