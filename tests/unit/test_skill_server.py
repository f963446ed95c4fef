from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
import redis.asyncio
import structlog

from services.core.images import DATA_KEY, ImageReader, decode, image_id
from services.core.server import SkillServer
from tests.gateway_fakes import picture
from tests.skill_examples import Echo, Late

SKILLS: dict[str, dict[str, Any]] = {
    "echo": {"class": "tests.skill_examples:Echo", "max_batch_size": 4},
    "looker": {"class": "tests.skill_examples:Looker", "checkpoint": "org/eyes"},
}
NO_REDIS = "redis://127.0.0.1:1/0"


def server() -> SkillServer:
    return SkillServer(SKILLS, NO_REDIS, image_cache_bytes_max=2**20)


def echo_of(skill_server: SkillServer) -> Echo:
    skill = skill_server._lanes["echo"].skill
    assert isinstance(skill, Echo)
    return skill


def request(text: str = "hi", *, skill: str = "echo", deadline_s: float = 30.0, **other: Any) -> dict[str, Any]:
    call = {"skill": skill, "args": {"text": text}, "images": {}, "request_id": "req-1"}
    return call | {"deadline": time.time() + deadline_s} | other


async def test_an_answer_carries_result_checkpoint_and_timing() -> None:
    reply = await server().call(request("hello"))
    assert reply["error"] is None
    assert reply["result"] == {"text": "hello", "batch_size": 1}
    assert reply["checkpoint"] == "no-weights"
    assert reply["compute_ms"] >= 0
    assert reply["wait_ms"] >= 0


async def test_calls_at_the_same_time_share_batches() -> None:
    replies = await asyncio.gather(*(call for s in [server()] for call in [s.call(request(str(i))) for i in range(4)]))
    assert [reply["result"]["text"] for reply in replies] == ["0", "1", "2", "3"]
    assert {reply["batch_size"] for reply in replies} == {4}


async def test_a_call_that_crashes_fails_alone_and_tells_nothing_internal() -> None:
    with structlog.testing.capture_logs() as logs:
        skill_server = server()
        good, bad = await asyncio.gather(skill_server.call(request("fine")), skill_server.call(request("crash")))
    assert good["result"]["text"] == "fine"
    assert bad["error"]["kind"] == "skill_failed"
    assert "/internal/path" not in json.dumps(bad)
    assert any(line["event"] == "skill_failed" and line["exc_info"] for line in logs)


async def test_a_skill_may_refuse_one_call_of_a_batch() -> None:
    skill_server = server()
    good, bad = await asyncio.gather(skill_server.call(request("fine")), skill_server.call(request("refuse")))
    assert good["result"]["text"] == "fine"
    assert bad["error"] == {
        "kind": "bad_arguments",
        "message": "echo does not say that.",
        "details": {"argument": "text"},
    }


@pytest.mark.parametrize("args", [{}, {"text": ""}, {"text": 3}, {"text": "a", "loud": True}])
async def test_wrong_arguments_are_named(args: dict[str, Any]) -> None:
    reply = await server().call(request(args=args))
    assert reply["error"]["kind"] == "bad_arguments"
    assert reply["error"]["details"]["argument"] in ("text", "loud")


async def test_a_skill_that_is_not_hosted_is_unknown() -> None:
    assert (await server().call(request(skill="sam")))["error"]["kind"] == "unknown_skill"


async def test_a_call_past_its_deadline_is_not_run() -> None:
    reply = await server().call(request(deadline_s=-1))
    assert reply["error"]["kind"] == "deadline_exceeded"


async def test_a_slow_call_ends_at_its_deadline_and_the_next_one_is_answered() -> None:
    skill_server = server()
    gate = echo_of(skill_server).gate
    gate.clear()
    reply = await skill_server.call(request("slow", deadline_s=0.05))
    gate.set()
    assert reply["error"]["kind"] == "deadline_exceeded"
    assert (await skill_server.call(request("next")))["result"]["text"] == "next"


async def test_every_call_leaves_one_structured_line_with_its_request_id() -> None:
    with structlog.testing.capture_logs() as logs:
        await server().call(request("hello"))
    (call,) = [line for line in logs if line["event"] == "skill_call"]
    assert (call["request_id"], call["skill"], call["status"]) == ("req-1", "echo", "ok")


async def test_a_store_that_is_away_is_unavailability_and_tells_nothing_internal() -> None:
    reply = await server().call(request(skill="looker", args={}, images={"image": "img_" + "0" * 40}))
    assert reply["error"]["kind"] == "skill_unavailable"
    assert "127.0.0.1" not in json.dumps(reply)


async def test_a_produced_picture_travels_as_png_beside_the_result(redis_url: str) -> None:
    given = picture(size=(32, 24))
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set(DATA_KEY.format(image_id(given, "me")), given)
    skill_server = SkillServer({"sketcher": {"class": "tests.skill_examples:Sketcher"}}, redis_url, 2**20)
    reply = await skill_server.call(request(skill="sketcher", args={}, images={"image": image_id(given, "me")}))
    await skill_server.close()
    assert reply["result"] == {"masks_rle": []}
    assert {name: decode(data).size for name, data in reply["pictures"].items()} == {
        "edited_image": (32, 24),
        "image_seg": (32, 24),
    }


LAZY = {"late": {"class": "tests.skill_examples:Late", "load": "first_call"}}


async def test_a_skill_may_be_loaded_at_its_first_call_and_loading_is_tried_again() -> None:
    skill_server = SkillServer(LAZY, NO_REDIS, image_cache_bytes_max=2**20)
    assert Late.loads == 0
    with structlog.testing.capture_logs() as logs:
        failed = await skill_server.call(request(skill="late"))
    assert failed["error"]["kind"] == "skill_unavailable"
    assert "/internal/path" not in json.dumps(failed)
    assert any(line["event"] == "skill_not_loaded" and line["exc_info"] for line in logs)
    for _ in range(2):
        assert (await skill_server.call(request(skill="late")))["result"]["text"] == "hi"
    assert Late.loads == 2


class OneStore:
    """Holds one picture and counts how often it is asked for."""

    def __init__(self, data: bytes) -> None:
        self.key = DATA_KEY.format(image_id(data, "me"))
        self.data = data
        self.reads = 0

    async def get(self, name: str) -> bytes | None:
        self.reads += 1
        return self.data if name == self.key else None


async def test_a_picture_is_fetched_and_decoded_once() -> None:
    store = OneStore(picture(size=(32, 24)))
    reader = ImageReader(store, cache_bytes_max=10_000)
    handle = image_id(store.data, "me")
    first, second = await reader.read(handle), await reader.read(handle)
    assert first is second
    assert first.size == (32, 24)
    assert store.reads == 1


async def test_the_cache_of_decoded_pictures_stays_within_its_bound() -> None:
    store = OneStore(picture(size=(32, 24)))
    reader = ImageReader(store, cache_bytes_max=32 * 24 * 3 - 1)
    handle = image_id(store.data, "me")
    await reader.read(handle)
    await reader.read(handle)
    assert store.reads == 2
    assert reader.cached_bytes == 0


async def test_a_missing_picture_is_an_error_of_the_caller(redis_url: str) -> None:
    skill_server = SkillServer(SKILLS, redis_url, image_cache_bytes_max=2**20)
    reply = await skill_server.call(request(skill="looker", args={}, images={"image": "img_" + "0" * 40}))
    await skill_server.close()
    assert reply["error"]["kind"] == "image_not_found"
    assert "Upload it again" in reply["error"]["message"]
