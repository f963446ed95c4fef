"""What scoring sends is what the real gateway takes, and what it reads is what the gateway answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest

from gateway.app import create_app
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.settings import GatewaySettings
from planner.eval.cases import Case
from planner.eval.command import EvaluationError, stand_in_picture
from planner.eval.gateway import (
    GatewayClient,
    GatewayPlayer,
    boxes_part,
    mask_part,
    picture_part,
    points_part,
    reference_part,
)
from services.core.errors import BadArguments, SkillUnavailable
from services.core.types import MaskRLE
from tests.gateway_fakes import FakeImages, FakePlanner, FakeSkills, fake_parts, picture

CODE = MaskRLE.from_array(np.ones((4, 4), bool)).model_dump(mode="json")


@pytest.fixture
def skills() -> FakeSkills:
    return FakeSkills()


@pytest.fixture
async def client(skills: FakeSkills) -> AsyncIterator[GatewayClient]:
    images, settings, planner = FakeImages(), GatewaySettings(), FakePlanner()
    turns = Orchestrator(planner, skills, images, settings)
    app = create_app(fake_parts(turns, skills=skills, images=images, planner=planner, settings=settings))
    async with GatewayClient("http://gateway", transport=httpx.ASGITransport(app=app)) as client:
        yield client


async def test_pictures_go_up_and_come_back(client: GatewayClient) -> None:
    handle = await client.upload(picture())
    assert handle.startswith("img_")
    assert await client.picture(handle) == picture()


async def test_tools_are_listed_called_and_their_refusals_are_told_apart(
    client: GatewayClient, skills: FakeSkills
) -> None:
    assert await client.skills() == ["painter+mask", "reader"]
    handle = await client.upload(picture())
    assert (await client.tool("reader", handle, {}))["texts"] == ["STOP"]
    assert (await client.call_tool("reader", {"image": handle}, {}))["checkpoint"] == "fake/weights"
    with pytest.raises(BadArguments):
        await client.call_tool("reader", {"image": handle}, {"nonsense": 1})
    skills.fails = SkillUnavailable("not now")
    with pytest.raises(SkillUnavailable):
        await client.call_tool("reader", {"image": handle}, {})
    with pytest.raises(EvaluationError, match="not now"):
        await client.tool("reader", handle, {})


async def test_a_chat_has_sessions_steps_results_and_all_kinds_of_parts(client: GatewayClient) -> None:
    handle = await client.upload(picture())
    first = await client.chat("Please read this", [picture_part(handle)])
    assert first.answer == "It says STOP."
    assert [action["API_name"] for action in first.actions] == ["reader"]
    assert first.results("reader")[0]["texts"] == ["STOP"]
    again = await client.chat("And then?", session=first.session)
    assert again.session == first.session
    parts = [
        picture_part(handle),
        points_part([(0.5, 0.5)], [1]),
        boxes_part([(0.1, 0.1, 0.5, 0.5)]),
        mask_part(CODE),
        reference_part(handle, CODE),
    ]
    marked = await client.chat("What is marked?", parts)
    assert not marked.error
    assert "Marked points" in marked.answer
    refused = await client.chat("What?", [points_part([(7.0, 0.5)])])
    assert refused.error.startswith("422") or refused.error.startswith("400")


@pytest.mark.parametrize(
    "given",
    [
        {"pictures": 1},
        {"pictures": 0},
        {"pictures": 1, "mask": True},
        {"pictures": 1, "reference": True},
        {"pictures": 1, "marks": {"points": [[0.5, 0.5]], "point_labels": [1]}},
        {"pictures": 1, "marks": {"boxes": [[0.1, 0.1, 0.5, 0.5]]}},
    ],
)
async def test_requests_of_every_kind_can_be_played(client: GatewayClient, given: dict[str, object]) -> None:
    before = [
        {"user": "Hi"},
        {"call": {"skill": "ram", "args": {}}, "result": {"tags": "dog"}},
        {"assistant": "A dog."},
    ]
    case = {"id": "x", "row": "ocr", "manner": "short", "text": "read it", "accept": [[[{"skill": "easyocr"}]]]}
    for more in ({}, {"before": before}):
        words = {"text": "read it" if given["pictures"] else "hello"}
        request = Case.model_validate(case | words | {"given": given} | more)
        played = await GatewayPlayer(client, stand_in_picture()).play(request)
        assert not played.broken
        assert played.answer
        assert played.seconds
