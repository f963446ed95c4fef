"""Sessions that several gateways share: one message at a time, retries run once, lists stay right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from gateway_fakes import FakePlanner, FakeSkills, question
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.errors import InvalidRequest, SessionBusy, SessionNotFound
from gateway.parts import ANONYMOUS
from gateway.settings import GatewaySettings
from gateway.state.answers import RedisAnswerStore
from gateway.state.locks import LockBusy, RedisLocks
from gateway.state.sessions import RedisSessionStore
from gateway.wiring import parts_around


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis_url) as client:
        yield client


async def test_a_lock_has_one_holder_and_is_free_again_after_it(redis: Redis) -> None:
    mine, others = RedisLocks(redis, 10.0), RedisLocks(redis, 10.0)
    async with mine.held("lock", 0):
        with pytest.raises(LockBusy):
            async with others.held("lock", 0.05):
                pass
    async with others.held("lock", 0):
        pass
    assert await redis.get("lock") is None


async def test_a_lock_is_renewed_while_it_is_held(redis: Redis) -> None:
    locks = RedisLocks(redis, 0.15)
    async with locks.held("lock", 0) as hold:
        with pytest.raises(LockBusy):
            async with RedisLocks(redis, 0.15).held("lock", 0.6):
                pass
        assert not hold.lost


async def test_a_holder_notices_that_its_lock_was_taken_and_leaves_the_new_one_alone(redis: Redis) -> None:
    async with RedisLocks(redis, 0.15).held("lock", 0) as hold:
        await redis.set("lock", "somebody else")
        async with asyncio.timeout(5):
            while not hold.lost:  # noqa: ASYNC110 - the renewal sets no event
                await asyncio.sleep(0.01)
    assert await redis.get("lock") == b"somebody else"


async def test_a_lock_is_given_in_the_order_of_arrival_whichever_gateway_asks(redis: Redis) -> None:
    gateways, served = [RedisLocks(redis, 10.0) for _ in range(2)], list[int]()

    async def one(number: int) -> None:
        async with gateways[number % 2].held("lock", 60):
            served.append(number)

    async with asyncio.TaskGroup() as group, asyncio.timeout(60), gateways[0].held("lock", 0):
        for number in range(5):
            group.create_task(one(number))
            while await redis.zcard("lock:waiting") <= number:  # noqa: ASYNC110 - Redis sets no event
                await asyncio.sleep(0.01)
    assert served == [0, 1, 2, 3, 4]
    assert await redis.keys("lock*") == []


async def test_who_gives_up_waiting_or_dies_keeps_no_place_in_line(redis: Redis) -> None:
    locks = RedisLocks(redis, 10.0)
    async with locks.held("lock", 0):
        with pytest.raises(LockBusy):
            async with locks.held("lock", 0.05):
                pass
        waiting = asyncio.create_task(locks.held("lock", 60).__aenter__())
        async with asyncio.timeout(20):
            while not await redis.exists("lock:waiting"):  # noqa: ASYNC110 - Redis sets no event
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await redis.keys("lock*") == [b"lock"]
    await redis.zadd("lock:waiting", {"dead": 1})
    await redis.zadd("lock:looking", {"dead": 1})
    async with locks.held("lock", 0):
        pass


async def test_a_second_message_of_a_session_waits_and_then_gives_up(redis: Redis) -> None:
    sessions = RedisSessionStore(redis, GatewaySettings(session_wait_s=0.05))
    async with sessions.locked("sess_1"):
        with pytest.raises(SessionBusy):
            async with sessions.locked("sess_1"):
                pass


async def test_sessions_are_listed_by_owner_last_used_first(redis: Redis) -> None:
    sessions = RedisSessionStore(redis, GatewaySettings())
    mine = [await sessions.create(owner="me") for _ in range(5)]
    for session in mine:
        await sessions.save(session)
    await sessions.save(await sessions.create(owner="you"))
    await sessions.save(mine[0])
    await redis.delete(f"session:{mine[3].id}")
    await sessions.delete(mine[2].id, owner="me")
    listed = [one.session.id for one in await sessions.page(owner="me", limit=10)]
    assert listed == [mine[0].id, mine[4].id, mine[1].id]
    assert [one.session.id for one in await sessions.page(owner="me", limit=1, after=listed[0])] == [listed[1]]
    assert list(await sessions.page(owner="me", limit=1, after="sess_unknown")) == []
    with pytest.raises(SessionNotFound):
        await sessions.delete(mine[4].id, owner="you")


async def test_a_session_that_is_only_read_stays_in_the_list_and_expired_ones_leave_it(redis: Redis) -> None:
    sessions = RedisSessionStore(redis, GatewaySettings(session_ttl_s=1000))
    index, long_ago = "sessions:me", time.time() - 5000
    read, expired, other = [await sessions.create(owner="me") for _ in range(3)]
    await sessions.save(read)
    await redis.zadd(index, {read.id: long_ago, expired.id: long_ago + 1})
    await redis.expire(index, 10)
    await sessions.get(read.id, owner="me")
    assert await redis.ttl(index) > 900, "the list lives as long as its sessions"
    assert [one.session.id for one in await sessions.page(owner="me", limit=10)] == [read.id]
    await redis.zadd(index, {expired.id: long_ago})
    await sessions.save(other)
    assert await redis.zrange(index, 0, -1) == [read.id.encode(), other.id.encode()], "storing one tidies up"


async def test_a_list_tells_when_its_sessions_expire_and_does_not_renew_them(redis: Redis) -> None:
    sessions = RedisSessionStore(redis, GatewaySettings(session_ttl_s=1000))
    session = await sessions.create(owner="me")
    await sessions.save(session)
    before = time.time()
    await redis.expire(f"session:{session.id}", 500)
    listed = [one for _ in range(2) for one in await sessions.page(owner="me", limit=10)]
    assert [before + 400 < one.expires < before + 900 for one in listed] == [True, True]


async def test_an_answer_is_found_by_owner_key_and_message(redis: Redis) -> None:
    answers, sessions = RedisAnswerStore(redis, GatewaySettings()), RedisSessionStore(redis, GatewaySettings())
    async with answers.answering("key", b"body", owner="me") as answering:
        assert answering.known is None
        await sessions.save(await sessions.create(owner="me"), answer=answering.kept({"text": "hello"}))
    async with answers.answering("key", b"body", owner="me") as answering:
        assert answering.known == {"text": "hello"}
    async with answers.answering("key", b"body", owner="you") as answering:
        assert answering.known is None
    with pytest.raises(InvalidRequest, match="another message"):
        async with answers.answering("key", b"other", owner="me"):
            pass


async def test_a_message_that_is_sent_again_while_it_runs_joins_it(redis: Redis) -> None:
    answers, sessions = RedisAnswerStore(redis, GatewaySettings()), RedisSessionStore(redis, GatewaySettings())
    running = asyncio.Event()

    async def first() -> None:
        async with answers.answering("key", b"body", owner="me") as answering:
            running.set()
            await asyncio.sleep(0.1)
            await sessions.save(await sessions.create(owner="me"), answer=answering.kept({"text": "hello"}))

    async def second() -> object:
        await running.wait()
        async with answers.answering("key", b"body", owner="me") as answering:
            return answering.known

    _, joined = await asyncio.gather(first(), second())
    assert joined == {"text": "hello"}


async def test_messages_of_one_session_through_two_gateways_are_all_kept(empty_redis_url: str) -> None:
    settings = GatewaySettings(redis_url=empty_redis_url)
    gateways = [parts_around(settings, lambda _: FakeSkills(), FakePlanner()) for _ in range(2)]
    clients = [
        httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway")
        for parts in gateways
    ]
    first = await clients[0].post("/v1/chat/completions", json={"messages": [question("start")]})
    session_id = first.json()["session_id"]
    bodies = [{"messages": [question(f"Q{n}")], "session_id": session_id} for n in range(6)]
    sent = [clients[n % 2].post("/v1/chat/completions", json=body) for n, body in enumerate(bodies)]
    assert [response.status_code for response in await asyncio.gather(*sent)] == [200] * 6
    session = await gateways[0].sessions.get(session_id, owner=ANONYMOUS)
    assert sorted(turn.question for turn in session.turns) == ["Q0", "Q1", "Q2", "Q3", "Q4", "Q5", "start"]
    for client, parts in zip(clients, gateways, strict=True):
        await client.aclose()
        await parts.close()
