"""Skills are made ready ahead of their first call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_fakes import FakeImages, FakeSkills, data_url, fake_parts, picture

from gateway.app import create_app
from gateway.skill_client import ServeSkillClient
from services.core.errors import SkillUnavailable
from services.core.handles import AppHandle, AppStatus
from services.core.lane import Lane
from services.core.skill import SkillCall
from tests.skill_examples import Doubler, Echo, EchoArgs, Late, Sketcher


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane(Late())
    yield lane
    lane.close()


async def test_a_lane_that_is_warmed_is_loaded_once_and_a_failure_is_left_to_the_first_call(lane: Lane) -> None:
    Late.loads = 0
    await lane.warm()
    assert Late.loads == 1, "it failed, quietly"
    await lane.warm()
    await lane.warm()
    assert Late.loads == 2
    served = await lane.submit(SkillCall(EchoArgs(text="hello")), time.time() + 10)
    assert served.answer.text == "hello"  # type: ignore[union-attr]
    assert Late.loads == 2


async def test_a_composite_is_warmed_with_its_parts_and_not_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, Any]] = []

    async def call(self: AppHandle, method: str, payload: Any, deadline: float) -> None:
        asked.append((self.app, method, payload))
        if payload == "sketcher":
            raise SkillUnavailable("starting")

    monkeypatch.setattr(AppHandle, "call", call)
    hosted = [(Doubler.spec(), "words"), (Echo.spec(), "words"), (Sketcher.spec(), "pictures")]
    client = ServeSkillClient(hosted, AppStatus(), FakeImages())
    await client.warm("doubler")
    assert sorted(asked) == [
        ("pictures", "warm", "sketcher"),
        ("words", "warm", "echo"),
        ("words", "warm", "echo+sketcher"),
    ]
    await client.warm("doubler")
    assert asked[3:] == [("pictures", "warm", "sketcher")], "what did not answer is asked again"


@pytest.mark.parametrize(("header", "fresh"), [({}, False), ({"Cache-Control": "max-age=0, No-Cache"}, True)])
async def test_a_client_may_ask_for_a_fresh_result(header: dict[str, str], fresh: bool) -> None:
    skills = FakeSkills()
    app = create_app(fake_parts(skills=skills))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        body = {"image": data_url(picture())}
        answered = await client.post("/v1/tools/reader", json=body, headers=header)
    assert answered.json()["cached"] is False
    assert skills.calls[0][3].fresh is fresh
