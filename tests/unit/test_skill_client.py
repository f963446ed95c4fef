from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.settings import GatewaySettings
from gateway.skill_client import ServeSkillClient
from gateway.state.images import RedisImageStore
from services.core.context import CallContext
from services.core.errors import BadArguments, SkillFailed, SkillOverloaded
from services.core.handles import AppHandle, AppStatus
from services.core.images import decode
from services.core.server import SkillServer
from services.core.spec import Symbol
from tests.gateway_fakes import FakeImages, data_url, fake_parts, picture
from tests.skill_examples import Doubler, Echo, Sketcher

HOSTED = [(Doubler.spec(), "words"), (Echo.spec(), "words"), (Sketcher.spec(), "pictures")]


class Running(AppStatus):
    """Says what a test says is running."""

    def __init__(self, *apps: str) -> None:
        self.apps = frozenset(apps)

    async def ready(self) -> frozenset[str]:
        return self.apps


def context() -> CallContext:
    return CallContext("req-1", "me", time.time() + 30)


@pytest.fixture
async def server(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SkillServer]:
    """One server in this process, which every application's handle reaches."""
    path = "tests.skill_examples:"
    hosted = {"echo": "Echo", "sketcher": "Sketcher", "echo+sketcher": "Doubler"}
    server = SkillServer({name: {"class": path + cls} for name, cls in hosted.items()}, redis_url, 2**20)

    async def call(self: AppHandle, method: str, payload: Any, deadline: float) -> Any:
        return await getattr(server, method)(payload)

    monkeypatch.setattr(AppHandle, "call", call)
    yield server
    await server.close()


@pytest.fixture
async def images(redis_url: str) -> AsyncIterator[RedisImageStore]:
    redis = Redis.from_url(redis_url)
    yield RedisImageStore(redis, GatewaySettings())
    await redis.aclose()


@pytest.mark.usefixtures("server")
async def test_a_produced_picture_is_stored_with_its_lineage_and_given_as_a_handle(images: RedisImageStore) -> None:
    skills = ServeSkillClient(HOSTED, Running(), images)
    given = await images.put(picture(size=(30, 20)), owner="me")
    outcome = await skills.call("sketcher", {}, {Symbol.IMAGE: given.id}, context())
    assert set(outcome.pictures) == {"edited_image", "image_seg"}
    assert outcome.result == {"masks_rle": [], **outcome.pictures}
    stored = await images.get(outcome.pictures["image_seg"], owner="me")
    assert (stored.info.size.width, stored.info.size.height) == (30, 20)
    assert stored.info.lineage == {
        "skill": "sketcher",
        "checkpoint": "built-in",
        "args": {},
        "images": {"image": given.id},
        "field": "image_seg",
    }


async def test_a_picture_that_cannot_be_stored_is_the_skills_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(self: AppHandle, method: str, payload: Any, deadline: float) -> Any:
        return {"result": {"masks_rle": []}, "pictures": {"edited_image": b"not a picture"}}

    monkeypatch.setattr(AppHandle, "call", call)
    small = RedisImageStore(Redis.from_url("redis://127.0.0.1:1/0"), GatewaySettings(image_bytes_max=5))
    with pytest.raises(SkillFailed, match="made a picture that cannot be stored"):
        await ServeSkillClient(HOSTED, Running(), small).call("sketcher", {}, {}, context())


async def test_wrong_arguments_do_not_leave_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppHandle, "call", None)
    with pytest.raises(BadArguments, match="echo: argument text"):
        await ServeSkillClient(HOSTED, Running(), FakeImages()).call("parrot", {"text": ""}, {}, context())


async def test_a_skills_error_is_raised_again_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(self: AppHandle, method: str, payload: Any, deadline: float) -> Any:
        return {"error": SkillOverloaded("Full.", retry_after_s=3.0).to_wire()}

    monkeypatch.setattr(AppHandle, "call", call)
    with pytest.raises(SkillOverloaded, match="Full"):
        await ServeSkillClient(HOSTED, Running(), FakeImages()).call("echo", {"text": "a"}, {}, context())


async def test_a_composite_is_ready_when_its_parts_are() -> None:
    for running, ready in ((("words", "pictures"), True), (("words",), False)):
        status = await ServeSkillClient(HOSTED, Running(*running), FakeImages()).ready()
        assert status == {"echo": True, "sketcher": ready, "echo+sketcher": ready}


@pytest.fixture
def app(server: SkillServer, images: RedisImageStore) -> FastAPI:
    return create_app(fake_parts(skills=ServeSkillClient(HOSTED, Running(), images), images=images))


@pytest.mark.parametrize("name", ["echo+sketcher", "echo%2Bsketcher", "doubler"])
async def test_a_tools_produced_picture_can_be_fetched_by_its_handle(app: FastAPI, name: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        body = {"image": data_url(picture(size=(30, 20))), "arguments": {"text": "hi"}}
        answer = await client.post(f"/v1/tools/{name}", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["tool"] == "echo+sketcher"
        assert answer.json()["checkpoint"] == "no-weights + built-in"
        made = await client.get(f"/v1/images/{answer.json()['result']['turned']}")
    assert made.headers["Content-Type"] == "image/png"
    assert decode(made.content).size == (30, 20)
