"""Pictures and sessions in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_fakes import FakePlanner, FakeSkills, data_url, picture, question
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.errors import BadImage, SessionNotFound, StateUnavailable
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.images import RedisImageStore
from gateway.state.results import RedisResultsCache
from gateway.state.sessions import RedisSessionStore
from gateway.wiring import parts_around
from planner.conversation import AssistantTurn, ObservationTurn, UserTurn
from planner.format import PlannerOutput
from services.core.errors import ImageNotFound
from services.core.images import DATA_KEY, INFO_KEY, ImageReader

DAY_S = 24 * 3600


@pytest.fixture
async def redis(empty_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(empty_redis_url) as client:
        yield client


@pytest.fixture
def images(redis: Redis) -> RedisImageStore:
    return RedisImageStore(redis, GatewaySettings())


@pytest.fixture
def sessions(redis: Redis) -> RedisSessionStore:
    return RedisSessionStore(redis, GatewaySettings(history_turns_max=2))


async def test_a_picture_comes_back_as_it_was_uploaded(images: RedisImageStore) -> None:
    data = picture("JPEG", (40, 30))
    info = await images.put(data, owner="me")
    stored = await images.get(info.id, owner="me")
    assert stored.data == data
    assert stored.info.media_type == "image/jpeg"
    assert (stored.info.size.width, stored.info.size.height) == (40, 30)


async def test_the_same_bytes_have_the_same_handle_and_are_stored_once(images: RedisImageStore, redis: Redis) -> None:
    first = await images.put(picture(), owner="me", lineage={"skill": "painter"})
    second = await images.put(picture(), owner="me")
    assert second.id == first.id
    assert second.lineage == {"skill": "painter"}
    assert len(await redis.keys("image:*")) == 2


async def test_skills_read_the_pictures_that_the_gateway_stores(images: RedisImageStore, redis: Redis) -> None:
    info = await images.put(picture("GIF", (40, 30)), owner="me")
    decoded = await ImageReader(redis, cache_bytes_max=10**6).read(info.id)
    assert decoded.size == (40, 30)


async def test_another_owner_cannot_see_a_picture(images: RedisImageStore) -> None:
    info = await images.put(picture(), owner="me")
    with pytest.raises(ImageNotFound):
        await images.get(info.id, owner="you")


async def test_owners_do_not_share_handles(images: RedisImageStore) -> None:
    assert (await images.put(picture(), owner="me")).id != (await images.put(picture(), owner="you")).id


@pytest.mark.parametrize("use", ["put", "get", "info"])
async def test_every_use_renews_the_time_to_live(images: RedisImageStore, redis: Redis, use: str) -> None:
    info = await images.put(picture(), owner="me")
    keys = [DATA_KEY.format(info.id), INFO_KEY.format(info.id)]
    for key in keys:
        assert DAY_S - 60 < await redis.ttl(key) <= DAY_S
        await redis.expire(key, 100)
    used = await (images.put(picture(), owner="me") if use == "put" else getattr(images, use)(info.id, owner="me"))
    for key in keys:
        assert await redis.ttl(key) > DAY_S - 60
    assert getattr(used, "info", used).expires >= info.expires


@pytest.mark.parametrize("lost", [DATA_KEY, INFO_KEY])
async def test_a_picture_of_which_a_part_is_gone_is_not_found(images: RedisImageStore, redis: Redis, lost: str) -> None:
    info = await images.put(picture(), owner="me")
    await redis.delete(lost.format(info.id))
    with pytest.raises(ImageNotFound):
        await images.info(info.id, owner="me")
    assert (await images.put(picture(), owner="me")).id == info.id
    assert (await images.get(info.id, owner="me")).data == picture()


@pytest.mark.parametrize("handle", ["img_", "img_*", "x", "img_" + "0" * 40, "img_" + "0" * 40 + "\n"])
async def test_a_handle_of_nothing_is_not_found(images: RedisImageStore, handle: str) -> None:
    with pytest.raises(ImageNotFound):
        await images.get(handle, owner="me")


async def test_a_refused_picture_leaves_nothing_behind(images: RedisImageStore, redis: Redis) -> None:
    with pytest.raises(BadImage):
        await images.put(b"hello", owner="me")
    assert await redis.keys("*") == []


async def test_many_uploads_at_once_all_succeed(images: RedisImageStore) -> None:
    infos = await asyncio.gather(*(images.put(picture(color=(n, 0, 0)), owner="me") for n in range(32)))
    assert len({info.id for info in infos}) == 32


async def test_a_session_comes_back_with_every_kind_of_turn(sessions: RedisSessionStore) -> None:
    session = await sessions.create(owner="me")
    conversation = (
        UserTurn(text="What does it say?", images=("img_" + "0" * 40,)),
        AssistantTurn(output=PlannerOutput(thoughts="Read it.")),
        ObservationTurn(observations=(), question="What does it say?"),
    )
    changed = session.model_copy(update={"conversation": conversation})
    await sessions.save(changed)
    assert await sessions.get(session.id, owner="me") == changed


async def test_a_session_keeps_its_latest_turns(sessions: RedisSessionStore) -> None:
    session = await sessions.create(owner="me")
    conversation = tuple(UserTurn(text=str(number)) for number in range(5))
    await sessions.save(session.model_copy(update={"conversation": conversation}))
    kept = (await sessions.get(session.id, owner="me")).conversation
    assert [turn.text for turn in kept if isinstance(turn, UserTurn)] == ["3", "4"]


async def test_a_new_session_is_not_stored_before_it_is_saved(sessions: RedisSessionStore, redis: Redis) -> None:
    session = await sessions.create(owner="me")
    assert await redis.keys("*") == []
    await sessions.save(session)
    assert await sessions.get(session.id, owner="me") == session


async def test_using_a_session_renews_its_time_to_live(sessions: RedisSessionStore, redis: Redis) -> None:
    session = await sessions.create(owner="me")
    await sessions.save(session)
    await redis.expire(f"session:{session.id}", 100)
    await sessions.get(session.id, owner="me")
    assert await redis.ttl(f"session:{session.id}") > DAY_S - 60


async def test_sessions_of_others_and_of_nobody_are_not_found(sessions: RedisSessionStore, redis: Redis) -> None:
    session = await sessions.create(owner="me")
    await sessions.save(session)
    await redis.set("session:sess_" + "1" * 32, b"{}")
    for session_id, owner in [(session.id, "you"), ("sess_" + "0" * 32, "me"), ("sess_" + "1" * 32, "me"), ("*", "me")]:
        with pytest.raises(SessionNotFound):
            await sessions.get(session_id, owner=owner)


def gateway(url: str) -> Any:
    """A gateway process's app, with a connection of its own to Redis."""

    async def make_parts(settings: GatewaySettings) -> GatewayParts:
        return parts_around(settings.model_copy(update={"redis_url": url}), lambda _: FakeSkills(), FakePlanner())

    return create_app(make_parts=make_parts, specs=FakeSkills().specs())


async def test_pictures_and_sessions_survive_a_restart_of_the_gateway(empty_redis_url: str) -> None:
    async def ask(url: str, **body: Any) -> Any:
        app = gateway(url)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client,
        ):
            if "image" in body:
                response = await client.post("/v1/images", files={"file": body["image"]})
            else:
                response = await client.post("/v1/chat/completions", json=body)
            return response.json()

    handle = (await ask(empty_redis_url, image=picture()))["id"]
    first = await ask(empty_redis_url, messages=[question("What is it?", handle)])
    second = await ask(empty_redis_url, messages=[question("And now?")], session_id=first["session_id"])
    assert second["choices"][0]["message"]["content"] == "I see 1 picture(s). You asked: And now?"


async def test_a_session_goes_on_when_one_of_its_pictures_has_expired(empty_redis_url: str) -> None:
    app = gateway(empty_redis_url)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client,
        Redis.from_url(empty_redis_url) as redis,
    ):
        urls = [data_url(picture(size=(8, side))) for side in (8, 9)]
        first = (await client.post("/v1/chat/completions", json={"messages": [question("Which?", *urls)]})).json()
        lost, left = first["images"]
        await redis.delete(DATA_KEY.format(lost), INFO_KEY.format(lost))
        again = {"messages": [question("And now?")], "session_id": first["session_id"]}
        second = await client.post("/v1/chat/completions", json=again)
        session = (await client.get(f"/v1/sessions/{first['session_id']}")).json()
    assert second.json()["choices"][0]["message"]["content"] == "I see 1 picture(s). You asked: And now?"
    assert session["images"] == [left]


async def test_without_redis_a_request_is_a_503_and_the_gateway_is_not_ready() -> None:
    app = gateway("redis://127.0.0.1:1/0")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client,
    ):
        response = await client.post("/v1/images", files={"file": picture()})
        ready = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "state_unavailable"
    assert response.headers["Retry-After"] == "2"
    assert ready.json()["state"] is False


async def test_a_store_without_redis_says_so_in_the_gateways_words() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as redis:
        with pytest.raises(StateUnavailable):
            await RedisSessionStore(redis, GatewaySettings()).get("sess_" + "0" * 32, owner="me")


async def test_results_are_bounded_in_number_and_size_and_the_oldest_make_room(redis: Redis) -> None:
    cache = RedisResultsCache(redis, GatewaySettings(results_max=3, result_bytes_max=10))
    for number in range(5):
        await cache.put(f"key{number}", b"%d" % number)
    await cache.put("large", b"x" * 11)
    found = [await cache.get(name) for name in ("key0", "key1", "key2", "key3", "key4", "large")]
    assert found == [None, None, b"2", b"3", b"4", None]
    assert 0 < await redis.ttl("result:key4") <= DAY_S
