from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import numpy as np
import pytest
import redis.asyncio
import structlog
from PIL import Image

from services.core.composite import LocalParts
from services.core.errors import BadArguments, SkillOverloaded, UnknownSkill
from services.core.handles import AppHandle
from services.core.images import DATA_KEY, image_id
from services.core.server import SkillServer
from services.core.spec import Symbol
from tests.gateway_fakes import picture
from tests.skill_examples import Doubler, Echo, EchoArgs, Sketcher

PICTURE = picture(size=(32, 24))
HANDLE = image_id(PICTURE, "me")
PARTS = {"echo": {"class": "tests.skill_examples:Echo"}, "sketcher": {"class": "tests.skill_examples:Sketcher"}}
DOUBLER = {"echo+sketcher": {"class": "tests.skill_examples:Doubler"}}


@pytest.fixture
async def store(redis_url: str) -> str:
    """A Redis that holds one picture."""
    client = redis.asyncio.Redis.from_url(redis_url)
    await client.set(DATA_KEY.format(HANDLE), PICTURE)
    await client.aclose()
    return redis_url


def request(text: str, *, skill: str = "echo+sketcher", deadline_s: float = 30.0) -> dict[str, Any]:
    images = {} if skill == "echo" else {"image": HANDLE}
    args = {"text": text} if skill != "sketcher" else {}
    deadline = time.time() + deadline_s
    return {"skill": skill, "args": args, "images": images, "request_id": "req-7", "deadline": deadline}


async def test_parts_in_the_same_replica_answer_with_their_own_batches_and_lines(store: str) -> None:
    with structlog.testing.capture_logs() as logs:
        server = SkillServer(PARTS | DOUBLER, store, image_cache_bytes_max=2**20)
        reply = await server.call(request("hello"))
    await server.close()
    assert reply["error"] is None
    assert reply["result"] == {"text": "hello hello"}
    assert Image.open(io.BytesIO(reply["pictures"]["turned"])).size == (32, 24)
    assert reply["checkpoint"] == "no-weights + built-in"
    calls = [line for line in logs if line["event"] == "skill_call"]
    assert [call["skill"] for call in calls] == ["echo", "echo", "sketcher", "echo+sketcher"]
    assert {call["request_id"] for call in calls} == {"req-7"}


async def test_parts_elsewhere_are_called_through_their_applications(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = SkillServer(PARTS, store, image_cache_bytes_max=2**20)
    asked: list[tuple[str, float]] = []

    async def call(self: AppHandle, method: str, payload: Any, deadline: float) -> Any:
        asked.append((self.app, deadline))
        return await getattr(there, method)(payload)

    monkeypatch.setattr(AppHandle, "call", call)
    here = SkillServer(DOUBLER, store, 2**20, parts={"echo": "words", "sketcher": "pictures"})
    wire = request("hello")
    reply = await here.call(wire)
    await here.close()
    await there.close()
    assert reply["result"] == {"text": "hello hello"}
    turned = Image.open(io.BytesIO(reply["pictures"]["turned"]))
    assert np.array_equal(turned, Image.open(io.BytesIO(PICTURE)).rotate(180))
    assert asked == [("words", wire["deadline"])] * 2 + [("pictures", wire["deadline"])]


async def test_an_error_of_a_part_is_the_composites_own(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crowded(self: AppHandle, method: str, payload: Any, deadline: float) -> Any:
        raise SkillOverloaded("pictures has too many calls waiting.", retry_after_s=1.0)

    monkeypatch.setattr(AppHandle, "call", crowded)
    skills = {"echo": PARTS["echo"]} | DOUBLER
    server = SkillServer(skills, store, image_cache_bytes_max=2**20, parts={"sketcher": "pictures"})
    refused, crowd = await asyncio.gather(server.call(request("refuse")), server.call(request("hi")))
    await server.close()
    assert refused["error"]["kind"] == "bad_arguments"
    assert refused["error"]["details"] == {"argument": "text"}
    assert crowd["error"]["kind"] == "skill_overloaded"


async def test_a_composite_that_crashes_fails_and_tells_nothing_internal(store: str) -> None:
    server = SkillServer(PARTS | DOUBLER, store, image_cache_bytes_max=2**20)
    with structlog.testing.capture_logs() as logs:
        reply = await server.call(request("break"))
    await server.close()
    assert reply["error"]["kind"] == "skill_failed"
    assert "/internal/path" not in json.dumps(reply)
    assert any(line["event"] == "skill_failed" and line["exc_info"] for line in logs)


async def test_a_part_that_is_slow_ends_at_the_composites_deadline(store: str) -> None:
    server = SkillServer(PARTS | DOUBLER, store, image_cache_bytes_max=2**20)
    echo = server._lanes["echo"].skill
    assert isinstance(echo, Echo)
    echo.gate.clear()
    reply = await server.call(request("slow", deadline_s=0.05))
    echo.gate.set()
    await server.close()
    assert reply["error"]["kind"] == "deadline_exceeded"


async def test_a_composite_runs_without_ray_on_decoded_pictures() -> None:
    parts = LocalParts([Echo(), Sketcher()])
    image = Image.open(io.BytesIO(PICTURE))
    images = {Symbol.IMAGE: image}
    answers = await asyncio.gather(*(Doubler().compose(EchoArgs(text=text), images, parts) for text in ("a", "b")))
    assert [answer.text for answer in answers] == ["a a", "b b"]
    with pytest.raises(BadArguments):
        await Doubler().compose(EchoArgs(text="refuse"), images, parts)
    parts.close()
    with pytest.raises(UnknownSkill, match="echo is not among the given parts"):
        await Doubler().compose(EchoArgs(text="a"), images, LocalParts([Sketcher()]))


def test_a_composites_spec_names_its_parts() -> None:
    described = Doubler.spec().describe()
    assert described["parts"] == ["echo", "sketcher"]
    assert described["aliases"] == ["doubler"]
