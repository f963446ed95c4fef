from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from gateway_fakes import FakeSkills, FakeWeb, data_url, fake_parts, picture

from gateway.app import create_app
from gateway.planner_tools import PlannerTools
from gateway.ports import SkillOutcome
from services.core.context import CallContext
from services.core.errors import SkillOverloaded, SkillUnavailable
from services.core.images import decode
from services.core.spec import Symbol
from services.core.types import MaskRLE


@pytest.fixture
def skills() -> FakeSkills:
    return FakeSkills()


@pytest.fixture
def app(skills: FakeSkills) -> FastAPI:
    return create_app(fake_parts(skills=skills))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        yield client


async def upload(client: httpx.AsyncClient, data: bytes | None = None) -> str:
    response = await client.post("/v1/images", files={"file": data or picture()})
    assert response.status_code == 201
    handle: str = response.json()["id"]
    return handle


async def test_tools_are_listed_with_schemas(client: httpx.AsyncClient) -> None:
    tools = (await client.get("/v1/tools")).json()["data"]
    assert [tool["name"] for tool in tools] == ["painter+mask", "reader"]
    assert tools[0]["consumes"] == ["image", "mask"]
    assert tools[0]["arguments"]["required"] == ["prompt"]


@pytest.mark.parametrize(
    ("known", "uses"),
    [
        (PlannerTools(), ["described", "described"]),
        (PlannerTools(told=frozenset()), ["none", "none"]),
        (PlannerTools(told=frozenset({"reader"})), ["none", "described"]),
        (PlannerTools(learned=frozenset({"reader"})), ["described", "learned"]),
        (PlannerTools(told=frozenset({"painter+mask"}), learned=frozenset({"reader"})), ["described", "none"]),
    ],
)
async def test_tools_say_how_the_planner_knows_them(known: PlannerTools, uses: list[str]) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=create_app(fake_parts(planner_tools=known))), base_url="http://gateway"
    ) as client:
        tools = (await client.get("/v1/tools")).json()["data"]
    assert [tool["planner"] for tool in tools] == uses


def test_every_tool_is_typed_in_openapi_under_its_own_name_only(app: FastAPI) -> None:
    schema: dict[str, Any] = app.openapi()
    tools = {path for path in schema["paths"] if path.startswith("/v1/tools/")}
    one = {"/v1/tools/painter+mask", "/v1/tools/reader"}
    assert tools == one | {f"{path}/batch" for path in one}
    models = schema["components"]["schemas"]
    request = models["PainterAndMaskRequest"]
    assert set(request["required"]) == {"image", "mask", "arguments"}
    assert models["PaintArgs"]["properties"]["steps"]["minimum"] == 1
    assert models["PainterAndMaskResponse"]["properties"]["result"]["$ref"].endswith("/PaintResult")


def test_errors_are_documented_in_openai_format(app: FastAPI) -> None:
    schema = app.openapi()
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    content = schema["paths"]["/v1/tools/reader"]["post"]["responses"]["4XX"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


async def test_a_call_returns_result_timing_and_the_handles_it_worked_on(
    client: httpx.AsyncClient, skills: FakeSkills
) -> None:
    handle = await upload(client)
    response = await client.post("/v1/tools/reader", json={"image": handle, "arguments": {"languages": ["en"]}})
    body = response.json()
    assert body["tool"] == "reader"
    assert body["result"] == {"texts": ["STOP"]}
    assert body["images"] == {"image": handle}
    assert body["checkpoint"] == "fake/weights"
    assert body["timing"].keys() == {"compute_ms", "wait_ms", "total_ms", "batch_size"}
    assert body["request_id"] == response.headers["X-Request-ID"]
    name, args, images, context = skills.calls[0]
    assert (name, args, images) == ("reader", {"languages": ["en"]}, {Symbol.IMAGE: handle})
    assert context.request_id == body["request_id"]


async def test_an_alias_means_the_same_tool_and_arguments_may_be_left_out(
    client: httpx.AsyncClient, skills: FakeSkills
) -> None:
    response = await client.post("/v1/tools/ocr", json={"image": data_url(picture())})
    assert response.json()["tool"] == "reader"
    assert skills.calls[0][1] == {}


async def test_every_kind_of_picture_that_a_tool_consumes_has_its_own_field(
    client: httpx.AsyncClient, skills: FakeSkills
) -> None:
    image, mask = await upload(client), await upload(client, picture(color="white"))
    body = {"image": image, "mask": mask, "arguments": {"prompt": "sky"}}
    assert (await client.post("/v1/tools/painter+mask", json=body)).status_code == 200
    assert skills.calls[0][2] == {Symbol.IMAGE: image, Symbol.MASK: mask}


async def test_a_mask_may_be_given_as_a_run_length_code(client: httpx.AsyncClient, skills: FakeSkills) -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    code = MaskRLE.from_array(mask).model_dump()
    body = {"image": await upload(client), "mask": code, "arguments": {"prompt": "sky"}}
    assert (await client.post("/v1/tools/painter+mask", json=body)).status_code == 200
    stored = await client.get(f"/v1/images/{skills.calls[0][2][Symbol.MASK]}")
    assert np.array_equal(np.asarray(decode(stored.content))[..., 0] > 127, mask)


@pytest.mark.parametrize(
    ("code", "status", "param"),
    [
        ({"size": [2, 2], "counts": "P"}, 400, "mask.counts"),
        ({"size": [2, 2], "counts": "5"}, 400, "mask.counts"),
        ({"size": [0, 0], "counts": "0"}, 400, "mask.counts"),
        ({"size": [10**6, 10**6], "counts": "5"}, 400, "mask.size"),
        ({"size": [-(10**9), 10**9], "counts": "5"}, 400, "mask.counts"),
        ({"size": [2, 2]}, 422, "mask.rle.counts"),
        ({"size": [2, 2, 2], "counts": "4"}, 422, "mask.rle.size"),
        ({"size": [2, 2], "counts": "\ud800"}, 400, "mask.counts"),
        ([[0, 1], [1, 0]], 422, "mask.rle"),
        (None, 422, "mask.rle"),
    ],
)
async def test_a_damaged_run_length_code_is_refused_before_any_skill_sees_it(
    client: httpx.AsyncClient, skills: FakeSkills, code: Any, status: int, param: str
) -> None:
    body = {"image": await upload(client), "mask": code, "arguments": {"prompt": "sky"}}
    headers = {"Content-Type": "application/json"}
    response = await client.post("/v1/tools/painter+mask", content=json.dumps(body), headers=headers)
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param
    assert skills.calls == []


@pytest.mark.parametrize(
    ("tool", "body", "param"),
    [
        ("reader", {}, "image"),
        ("reader", {"image": "IMAGE", "mask": "x"}, "mask"),
        ("reader", {"image": "IMAGE", "arguments": {"languages": 3}}, "arguments.languages"),
        ("reader", {"image": "IMAGE", "arguments": {"language": ["en"]}}, "arguments.language"),
        ("painter+mask", {"image": "IMAGE", "mask": "IMAGE"}, "arguments"),
        ("painter+mask", {"image": "IMAGE", "mask": "IMAGE", "arguments": {}}, "arguments.prompt"),
        ("painter+mask", {"image": "IMAGE", "mask": "IMAGE", "arguments": {"prompt": 1}}, "arguments.prompt"),
        ("reader", {"image": "IMAGE", "arguments": {"languages": ["x \ud800"]}}, "arguments"),
    ],
)
async def test_a_wrong_call_is_a_422_that_names_the_field(
    client: httpx.AsyncClient, skills: FakeSkills, tool: str, body: dict[str, Any], param: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(f"/v1/tools/{tool}", content=json.dumps(body), headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param
    assert skills.calls == []


async def test_an_unknown_tool_is_a_404_that_lists_the_known_ones(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/tools/nonsense", json={})
    assert response.status_code == 404
    assert "reader" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (SkillOverloaded("The queue is full.", retry_after_s=4.0), 429, "4"),
        (SkillUnavailable("Starting.", retry_after_s=0.2), 503, "1"),
    ],
)
async def test_a_busy_tool_says_when_to_try_again(
    client: httpx.AsyncClient, skills: FakeSkills, error: Exception, status: int, retry_after: str
) -> None:
    skills.fails = error
    response = await client.post("/v1/tools/reader", json={"image": await upload(client)})
    assert response.status_code == status
    assert response.headers["Retry-After"] == retry_after


async def test_calls_are_counted_by_tool_and_outcome(
    app: FastAPI, client: httpx.AsyncClient, skills: FakeSkills
) -> None:
    handle = await upload(client)
    await client.post("/v1/tools/ocr", json={"image": handle})
    skills.fails = SkillOverloaded("The queue is full.")
    await client.post("/v1/tools/ocr", json={"image": handle})
    for outcome in ("ok", "skill_overloaded"):
        labels = {"skill": "reader", "outcome": outcome}
        assert app.state.metrics.registry.get_sample_value("llava_plus_skill_calls_total", labels) == 1


async def test_a_client_that_leaves_cancels_its_call() -> None:
    called, cancelled = asyncio.Event(), asyncio.Event()

    class HangingSkills(FakeSkills):
        async def call(
            self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
        ) -> SkillOutcome:
            called.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError

    to_app = [{"type": "http.request", "body": json.dumps({"image": data_url(picture())}).encode()}]

    async def receive() -> Any:
        if to_app:
            return to_app.pop()
        await called.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/tools/reader",
        "headers": [(b"content-type", b"application/json")],
        "query_string": b"",
    }
    app = create_app(fake_parts(skills=HangingSkills()))
    async with asyncio.timeout(5):
        await app(scope, receive, send)
        await cancelled.wait()
    assert sent == []
    labels = {"skill": "reader", "outcome": "cancelled"}
    assert app.state.metrics.registry.get_sample_value("llava_plus_skill_calls_total", labels) == 1


async def test_a_picture_may_be_uploaded_or_called_with_by_its_url(skills: FakeSkills) -> None:
    url = "https://pictures.test/cat.png"
    parts = fake_parts(skills=skills, fetcher=FakeWeb({url: picture()}))
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        stored = await client.post("/v1/images", files={"url": (None, url)})
        assert stored.status_code == 201
        called = await client.post("/v1/tools/reader", json={"image": url})
        assert called.json()["images"] == {"image": stored.json()["id"]}
        refused = await client.post("/v1/tools/reader", json={"image": "https://inside.test/"})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "image_url_refused"
        assert refused.json()["error"]["param"] == "image"
        neither = await client.post("/v1/images", files={})
        assert neither.status_code == 400


async def test_where_fetching_is_turned_off_a_url_is_refused_with_what_to_do(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/tools/reader", json={"image": "https://pictures.test/cat.png"})
    assert response.status_code == 400
    assert "upload the file to /v1/images" in response.json()["error"]["message"]


async def test_a_stored_picture_can_be_fetched_and_is_never_run_as_a_page(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/v1/images/{await upload(client)}")
    assert response.content == picture()
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
