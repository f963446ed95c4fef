"""Several inputs of a tool in one request, and results drawn over the picture."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from gateway_fakes import FakeSkills, Reader, data_url, fake_parts, picture
from PIL import Image

from gateway.app import create_app
from gateway.parts import GatewayParts
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from services.core.context import CallContext
from services.core.errors import SkillOverloaded
from services.core.images import encode
from services.core.skill import Skill
from services.core.spec import SkillSpec, Symbol
from services.core.types import Box, MaskRLE, SkillArgs, SkillResult

IMAGE = data_url(picture(size=(40, 40), color="white"))


class FinderResult(SkillResult):
    boxes: list[Box]
    phrases: list[str]
    masks_rle: list[MaskRLE]


class Finder(Skill[SkillArgs, FinderResult]):
    """Finds things."""

    name = "finder"
    Args = SkillArgs
    Result = FinderResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class MeetingSkills(FakeSkills):
    """Calls wait until as many of them as `meet` are running; the reader refuses two languages."""

    def __init__(self, meet: int = 1) -> None:
        super().__init__()
        self.meet, self.running, self.most = meet, 0, 0
        self.met = asyncio.Event()
        mask = np.zeros((40, 40), bool)
        mask[:, 30:] = True
        self.found: dict[str, Any] = {
            "boxes": [[0.0, 0.0, 0.5, 0.5]],
            "phrases": [""],
            "masks_rle": [MaskRLE.from_array(mask).model_dump(mode="json")],
        }

    def specs(self) -> Sequence[SkillSpec]:
        return [Finder.spec(), Reader.spec()]

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        if len(args.get("languages", ())) > 1:
            raise SkillOverloaded("The queue is full.", retry_after_s=4.0)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == self.meet:
            self.met.set()
        await self.met.wait()
        self.running -= 1
        result = self.found if skill == "finder" else {"texts": list(args.get("languages", ()))}
        return SkillOutcome(skill, result, "fake/weights", compute_ms=1.0, wait_ms=0.0)


def wired(skills: FakeSkills, **settings: Any) -> GatewayParts:
    return fake_parts(skills=skills, settings=GatewaySettings(**settings))


async def post(parts: GatewayParts, path: str, body: Any, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        return await client.post(path, json=body)


def reading(*languages: str) -> dict[str, Any]:
    return {"image": IMAGE, "arguments": {"languages": list(languages)}}


async def test_the_inputs_of_a_batch_run_at_the_same_time_and_are_answered_in_their_order() -> None:
    async with asyncio.timeout(20):
        body = {"inputs": [reading(name) for name in "abcd"]}
        response = await post(wired(MeetingSkills(meet=4)), "/v1/tools/reader/batch", body)
    answer = response.json()
    assert [item["response"]["result"]["texts"] for item in answer["data"]] == [["a"], ["b"], ["c"], ["d"]]
    assert [(item["index"], item["status"], item["error"]) for item in answer["data"]] == [
        (index, 200, None) for index in range(4)
    ]
    assert answer["request_id"] == response.headers["X-Request-ID"]


async def test_an_input_that_fails_has_its_own_error_and_the_others_their_results() -> None:
    unknown = {"image": "img_" + "0" * 40}
    body = {"inputs": [reading("a"), reading("a", "b"), unknown, {"image": "nonsense"}, reading("c")]}
    response = await post(wired(MeetingSkills()), "/v1/tools/ocr/batch", body)
    assert response.status_code == 200
    items = response.json()["data"]
    assert [item["status"] for item in items] == [200, 429, 404, 400, 200]
    assert [(item["error"] or {}).get("code") for item in items] == [
        None, "skill_overloaded", "image_not_found", "invalid_request", None,
    ]  # fmt: skip
    assert [item["response"] is None for item in items] == [False, True, True, True, False]


async def test_no_more_than_the_limit_run_at_the_same_time() -> None:
    skills = MeetingSkills(meet=2)
    async with asyncio.timeout(20):
        body = {"inputs": [reading("a")] * 6}
        response = await post(wired(skills, batch_parallel_max=2), "/v1/tools/reader/batch", body)
    assert len(response.json()["data"]) == 6
    assert skills.most == 2


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"inputs": []}, 422, "inputs"),
        ({"inputs": [reading("a")] * 4}, 400, "inputs"),
        ({"inputs": [reading("a"), {"image": 3}]}, 422, "inputs.1.image"),
        ({"inputs": [reading("a"), {"image": IMAGE, "arguments": {"lang": 1}}]}, 422, "inputs.1.arguments.lang"),
        ({"inputs": [reading("a")], "more": 1}, 422, "more"),
        (reading("a"), 422, "inputs"),
    ],
)
async def test_a_batch_that_is_malformed_or_too_large_runs_nothing(body: Any, status: int, param: str) -> None:
    skills = MeetingSkills()
    response = await post(wired(skills, batch_inputs_max=3), "/v1/tools/reader/batch", body)
    assert response.status_code == status
    assert response.json()["error"]["param"] == param
    assert skills.most == 0


async def test_a_batch_of_an_unknown_tool_is_a_404() -> None:
    assert (await post(wired(MeetingSkills()), "/v1/tools/nonsense/batch", {"inputs": []})).status_code == 404


async def test_an_overlay_is_stored_and_named_in_the_answer() -> None:
    parts = wired(MeetingSkills())
    answer = (await post(parts, "/v1/tools/finder?render=overlay", {"image": IMAGE})).json()
    render = answer["render"]
    assert render["url"] == f"/v1/images/{render['id']}"
    stored = await parts.images.get(render["id"], owner="anonymous")
    check_overlay(stored.data)
    assert answer["result"]["phrases"] == [""]


async def test_who_accepts_a_picture_gets_the_overlay_itself() -> None:
    path = "/v1/tools/finder?render=overlay"
    response = await post(wired(MeetingSkills()), path, {"image": IMAGE}, Accept="image/png")
    assert response.headers["Content-Type"] == "image/png"
    check_overlay(response.content)
    plain = await post(wired(MeetingSkills()), "/v1/tools/finder", {"image": IMAGE}, Accept="image/png")
    assert plain.json()["tool"] == "finder", "only an overlay is a picture"


def check_overlay(data: bytes) -> None:
    drawn = Image.open(io.BytesIO(data)).convert("RGB")
    assert drawn.size == (40, 40)
    assert drawn.getpixel((0, 10)) != (255, 255, 255), "the box' edge"
    assert drawn.getpixel((10, 10)) == (255, 255, 255), "inside it"
    assert drawn.getpixel((35, 35)) != (255, 255, 255), "the mask"


async def test_where_nothing_was_found_the_picture_is_plain() -> None:
    skills = MeetingSkills()
    skills.found = {"boxes": [], "phrases": [], "masks_rle": []}
    response = await post(wired(skills), "/v1/tools/finder?render=overlay", {"image": IMAGE}, Accept="image/png")
    assert Image.open(io.BytesIO(response.content)).convert("RGB").getcolors() == [(1600, (255, 255, 255))]


async def test_a_single_mask_is_drawn_too() -> None:
    skills = MeetingSkills()
    skills.found = {"mask_rle": skills.found["masks_rle"][0]}
    response = await post(wired(skills), "/v1/tools/finder?render=overlay", {"image": IMAGE}, Accept="image/png")
    drawn = Image.open(io.BytesIO(response.content)).convert("RGB")
    assert drawn.getpixel((35, 35)) != (255, 255, 255)
    assert drawn.getpixel((10, 10)) == (255, 255, 255)


async def test_a_map_is_mixed_into_the_picture_where_it_knows_a_class() -> None:
    skills = MeetingSkills()
    parts = wired(skills)
    segmentation = Image.new("RGB", (40, 40))
    segmentation.paste((0, 0, 255), (0, 0, 20, 40))
    stored = await parts.images.put(encode(segmentation), owner="anonymous")
    skills.found = {"image_seg": stored.id}
    path = "/v1/tools/finder?render=overlay"
    drawn = Image.open(io.BytesIO((await post(parts, path, {"image": IMAGE}, Accept="image/png")).content))
    assert drawn.convert("RGB").getpixel((10, 10)) == (115, 115, 255), "a class"
    assert drawn.convert("RGB").getpixel((30, 10)) == (255, 255, 255), "none"
    skills.found = {"image_seg": "img_" + "0" * 40}
    response = await post(parts, path, {"image": IMAGE}, Accept="image/png")
    assert Image.open(io.BytesIO(response.content)).convert("RGB").getcolors() == [(1600, (255, 255, 255))]


async def test_a_tool_whose_results_cannot_be_drawn_says_so() -> None:
    body, path = reading("en"), "/v1/tools/reader?render=overlay"
    assert (await post(wired(MeetingSkills()), path, body)).json()["render"] is None
    response = await post(wired(MeetingSkills()), path, body, Accept="image/png")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "nothing_to_draw"
    assert (await post(wired(MeetingSkills()), "/v1/tools/reader?render=x", body)).status_code == 422


async def test_a_large_picture_is_drawn_smaller() -> None:
    large = data_url(picture(size=(100, 50)))
    path = "/v1/tools/finder?render=overlay"
    response = await post(wired(MeetingSkills(), overlay_side_px=40), path, {"image": large}, Accept="image/png")
    assert Image.open(io.BytesIO(response.content)).size == (40, 20)


async def test_the_items_of_a_batch_can_be_drawn_too() -> None:
    body = {"inputs": [{"image": IMAGE}, {"image": IMAGE}]}
    answer = (await post(wired(MeetingSkills()), "/v1/tools/finder/batch?render=overlay", body)).json()
    assert [item["response"]["render"]["media_type"] for item in answer["data"]] == ["image/png"] * 2
