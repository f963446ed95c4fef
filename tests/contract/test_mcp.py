"""MCP through the package's own client: streamable HTTP of both eras of the protocol, and stdio."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import mcp_types as types
import pytest
from gateway_fakes import FakeImages, FakePlanner, FakeSkills, data_url, picture
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.tool_name_validation import validate_tool_name

from deploy.cli.mcp_forwarding import Platform, forwarding_server
from deploy.gateway import offered_skills
from deploy.profile import load_profile
from gateway.api.mcp.server import mcp_server
from gateway.api.mcp.skill_tool import SkillTool
from gateway.errors import StateUnavailable
from gateway.metrics import GatewayMetrics
from gateway.parts import ANONYMOUS
from llava_plus.connection import http_options
from planner.api import PlannerUnavailable
from services.core.errors import SkillOverloaded
from services.core.images import image_id
from services.core.spec import Symbol
from tests.conftest import free_port
from tests.contract.conftest import served
from tests.contract.vision_fakes import StoredSkills, ToldPlanner
from tests.gateway_fakes import fake_parts

ROOT = Path(__file__).parents[2]
HANDLE = image_id(picture(), ANONYMOUS)
Connect = Callable[[str], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def by_http(url: str) -> AsyncIterator[Client]:
    async with Client(f"{url}/mcp", read_timeout_seconds=60) as client:
        yield client


@asynccontextmanager
async def by_http_with_handshake(url: str) -> AsyncIterator[Client]:
    async with Client(f"{url}/mcp", read_timeout_seconds=60, mode="legacy") as client:
        yield client


@asynccontextmanager
async def forwarded(url: str, *folders: Path) -> AsyncIterator[Client]:
    """Through the server behind `llava-plus mcp`, in this process."""
    async with Client(forwarding_server(Platform(http_options(url, None, 60.0)), folders)) as client:
        yield client


@asynccontextmanager
async def by_stdio(url: str) -> AsyncIterator[Client]:
    arguments = ["-m", "deploy.cli.main", "mcp", "--url", url, "--pictures", str(ROOT / "docs" / "examples")]
    server = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)
    async with Client(server, read_timeout_seconds=60) as client:
        yield client


every_way = pytest.mark.parametrize("connect", [by_http, by_http_with_handshake, forwarded])


@pytest.fixture
def skills(gateway: Any) -> Iterator[FakeSkills]:
    gateway.skills.calls.clear()
    yield gateway.skills
    gateway.skills.fails = None


@pytest.fixture
def planner(gateway: Any) -> Iterator[FakePlanner]:
    gateway.planner.cancelled.clear()
    yield gateway.planner
    gateway.planner.fails = None


def text_of(result: types.CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, types.TextContent)
    return block.text


@every_way
async def test_every_skill_is_a_tool_with_typed_input_and_result(gateway: Any, connect: Connect) -> None:
    async with connect(gateway.url) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["chat", "upload_image", "painter_and_mask", "reader"]
    painter = tools["painter_and_mask"]
    assert painter.title == "painter+mask"
    assert painter.description == "Paints over a part of a picture."
    assert list(painter.input_schema["properties"]) == ["image", "mask", "prompt", "steps"]
    assert painter.input_schema["required"] == ["image", "mask", "prompt"]
    assert painter.output_schema is not None
    assert set(painter.output_schema["properties"]) == {"result", "images"}


@every_way
async def test_a_call_gives_the_typed_result_and_a_handle_for_further_calls(
    gateway: Any, skills: FakeSkills, connect: Connect
) -> None:
    async with connect(gateway.url) as client:
        first = await client.call_tool("reader", {"image": data_url(picture()), "languages": ["en"]})
        again = await client.call_tool("reader", {"image": HANDLE})
        by_address = await client.call_tool("reader", {"image": f"image://{HANDLE}"})
    assert first.structured_content == {"result": {"texts": ["STOP"]}, "images": {"image": HANDLE}}
    assert '"texts":["STOP"]' in text_of(first)
    assert first.structured_content == again.structured_content == by_address.structured_content
    assert [call[1:3] for call in skills.calls] == [
        ({"languages": ["en"]}, {Symbol.IMAGE: HANDLE}),
        ({}, {Symbol.IMAGE: HANDLE}),
        ({}, {Symbol.IMAGE: HANDLE}),
    ]


@every_way
async def test_a_question_goes_to_the_planner_and_its_conversation_goes_on(gateway: Any, connect: Connect) -> None:
    async with connect(gateway.url) as client:
        first = await client.call_tool("chat", {"text": "Please read the sign.", "images": [data_url(picture())]})
        session_id = first.structured_content["session_id"]
        second = await client.call_tool("chat", {"text": "And now?", "session_id": session_id, "debug": True})
    assert text_of(first) == "It says STOP."
    assert first.structured_content["images"] == [HANDLE]
    assert "steps" not in first.structured_content
    assert second.structured_content["session_id"] == session_id
    assert second.structured_content["answer"].startswith("I see 1 picture(s).")
    assert second.structured_content["steps"][0]["thoughts"] == "I can answer."


@every_way
async def test_who_asks_for_progress_hears_which_skills_run(gateway: Any, connect: Connect) -> None:
    heard: list[tuple[float, str | None]] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, message))

    async with connect(gateway.url) as client:
        arguments = {"text": "Please read the sign.", "images": [data_url(picture())]}
        await client.call_tool("chat", arguments, progress_callback=hear)
    assert heard == [(1.0, "reader")]


@every_way
async def test_pictures_are_resources(gateway: Any, connect: Connect) -> None:
    sent = picture(color="green")
    async with connect(gateway.url) as client:
        stored = (await client.call_tool("upload_image", {"image": data_url(sent)})).structured_content
        await client.call_tool("chat", {"text": "What is it?", "images": [{"image": stored["id"], "name": "lawn"}]})
        (template,) = (await client.list_resource_templates()).resource_templates
        listed = {resource.uri: resource for resource in (await client.list_resources()).resources}
        (content,) = (await client.read_resource(stored["uri"])).contents
        with pytest.raises(MCPError, match="Upload it again"):
            await client.read_resource("image://img_0")
    assert (stored["width"], stored["height"], stored["media_type"]) == (32, 24, "image/png")
    assert template.uri_template == "image://{handle}"
    assert listed[stored["uri"]].title == "lawn"
    assert isinstance(content, types.BlobResourceContents)
    assert (content.mime_type, base64.b64decode(content.blob)) == ("image/png", sent)


@every_way
async def test_what_is_wrong_with_a_call_is_a_tool_error_that_says_it(
    gateway: Any, skills: FakeSkills, connect: Connect
) -> None:
    async with connect(gateway.url) as client:
        missing = await client.call_tool("reader", {})
        unknown = await client.call_tool("reader", {"image": "img_" + "0" * 40})
        argument = await client.call_tool("reader", {"image": HANDLE, "languages": 3})
        question = await client.call_tool("chat", {"text": " "})
        with pytest.raises(MCPError, match=r"No tool is called 'nonsense'.*reader"):
            await client.call_tool("nonsense", {})
    assert all(result.is_error for result in (missing, unknown, argument, question))
    assert text_of(missing) == "image: Field required."
    assert "Upload it again" in text_of(unknown)
    assert text_of(argument).startswith("languages: ")
    assert text_of(question) == "text: the message has no text; ask a question."
    assert argument.meta is not None
    assert argument.meta["llava-plus/param"] == "languages"
    assert argument.meta["llava-plus/code"] == "invalid_request"
    assert skills.calls == []


async def test_a_busy_skill_and_an_absent_planner_say_when_to_try_again(
    gateway: Any, skills: FakeSkills, planner: FakePlanner
) -> None:
    skills.fails = SkillOverloaded("The queue is full.", retry_after_s=4.0)
    planner.fails = PlannerUnavailable("The planner is starting.", retry_after_s=1.0)
    async with by_http(gateway.url) as client:
        busy = await client.call_tool("reader", {"image": data_url(picture())})
        absent = await client.call_tool("chat", {"text": "Hi"})
        skills.fails = RuntimeError("/etc/secret")
        broken = await client.call_tool("reader", {"image": data_url(picture())})
    for result, message, retry_after_s in (
        (busy, "The queue is full.", 4.0),
        (absent, "The planner is starting.", 1.0),
    ):
        assert result.is_error
        assert text_of(result) == message
        assert result.meta is not None
        assert result.meta["llava-plus/retry_after_s"] == retry_after_s
    assert broken.is_error
    assert "secret" not in broken.model_dump_json()


@every_way
async def test_who_gives_up_stops_the_planner(gateway: Any, planner: FakePlanner, connect: Connect) -> None:
    async with connect(gateway.url) as client:
        with pytest.raises(MCPError):
            await client.call_tool("chat", {"text": "hang"}, read_timeout_seconds=1.0)
        assert await asyncio.to_thread(planner.cancelled.wait, 10)


async def test_a_picture_that_a_skill_makes_comes_as_an_image_with_its_handle(redis_url: str) -> None:
    skills = StoredSkills()
    with served(redis_url, skills, ToldPlanner(), skills_with=skills.with_store) as (url, _):
        async with by_http(url) as client:
            edited = await client.call_tool("edit", {"image": data_url(picture()), "prompt": "blue"})
            answered = await client.call_tool("chat", {"text": "paint it", "images": [data_url(picture())]})
            handle = edited.structured_content["result"]["edited_image"]
            (content,) = (await client.read_resource(f"image://{handle}")).contents
    _, image, link = edited.content
    assert isinstance(image, types.ImageContent)
    assert isinstance(link, types.ResourceLink)
    assert (link.uri, link.mime_type) == (f"image://{handle}", "image/png")
    assert isinstance(content, types.BlobResourceContents)
    assert image.data == content.blob
    assert answered.structured_content["produced_images"] == [handle]
    assert image in answered.content


async def test_a_store_that_does_not_answer_is_said_so_wherever_it_is_needed() -> None:
    class Away(FakeImages):
        async def get(self, image_id: str, *, owner: str) -> Any:
            raise StateUnavailable

    async with Client(mcp_server(fake_parts(images=Away()), GatewayMetrics(), "1")) as client:
        with pytest.raises(MCPError, match="does not answer: try again") as away:
            await client.read_resource(f"image://{HANDLE}")
        assert away.value.code == types.INTERNAL_ERROR
        assert away.value.data["code"] == "state_unavailable"


async def test_what_a_skill_found_comes_drawn_over_the_picture_on_request(redis_url: str) -> None:
    skills = StoredSkills()
    with served(redis_url, skills, ToldPlanner(), skills_with=skills.with_store) as (url, _):
        async with by_http(url) as client:
            tools = {tool.name: tool.input_schema["properties"] for tool in (await client.list_tools()).tools}
            asked = {"image": data_url(picture()), "caption": "cat . dog"}
            plain = await client.call_tool("find", asked)
            drawn = await client.call_tool("find", asked | {"overlay": True})
            wrong = await client.call_tool("find", asked | {"overlay": "yes"})
            unknown = await client.call_tool("tag", {"image": data_url(picture()), "overlay": True})
    assert "overlay" in tools["find"]
    assert "overlay" not in tools["tag"]
    assert [block.type for block in plain.content] == ["text"]
    assert [block.type for block in drawn.content] == ["text", "image", "resource_link"]
    assert drawn.structured_content == plain.structured_content
    assert text_of(wrong) == "overlay: true or false is wanted."
    assert unknown.is_error
    assert "overlay" in text_of(unknown)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_a_page_of_another_site_is_refused(gateway: Any, headers: dict[str, str], status: int) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    response = httpx.post(f"{gateway.url}/mcp", json=message, headers=accept | headers)
    assert response.status_code == status


async def test_over_stdio_an_assistant_lists_calls_asks_reads_and_gives_up(
    gateway: Any, skills: FakeSkills, planner: FakePlanner
) -> None:
    async with by_stdio(gateway.url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        stored = await client.call_tool("upload_file", {"path": "poster.png"})
        called = await client.call_tool("reader", {"image": stored.structured_content["id"]})
        asked = await client.call_tool("chat", {"text": "Please read the sign.", "images": [data_url(picture())]})
        (content,) = (await client.read_resource(stored.structured_content["uri"])).contents
        with pytest.raises(MCPError):
            await client.call_tool("chat", {"text": "hang"}, read_timeout_seconds=2.0)
        assert await asyncio.to_thread(planner.cancelled.wait, 20)
    assert tools == ["chat", "upload_image", "painter_and_mask", "reader", "upload_file"]
    assert called.structured_content["result"] == {"texts": ["STOP"]}
    assert text_of(asked) == "It says STOP."
    assert isinstance(content, types.BlobResourceContents)
    assert base64.b64decode(content.blob) == (ROOT / "docs" / "examples" / "poster.png").read_bytes()


async def test_over_stdio_the_platform_may_start_later(gateway: Any) -> None:
    async with forwarded(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(MCPError, match=r"Nothing answers at http://127.*start the platform with"):
            await client.list_tools()
        refused = await client.call_tool("chat", {"text": "Hi"})
        assert refused.is_error
        assert "start the platform" in text_of(refused)


async def test_over_stdio_picture_files_are_taken_from_allowed_folders_alone(gateway: Any, tmp_path: Path) -> None:
    allowed = tmp_path / "pictures"
    allowed.mkdir()
    (allowed / "sign.png").write_bytes(picture())
    (allowed / "notes.txt").write_text("not a picture")
    (tmp_path / "secret.png").write_bytes(picture())
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    async with forwarded(gateway.url, allowed) as client:
        assert "upload_file" in [tool.name for tool in (await client.list_tools()).tools]
        for path in ("sign.png", str(allowed / "sign.png")):
            stored = await client.call_tool("upload_file", {"path": path})
            assert stored.structured_content["id"] == HANDLE
        for path, says in (
            ("../secret.png", "only files below"),
            ("link.png", "only files below"),
            ("none.png", "there is no file"),
            ("notes.txt", "not a picture"),
            ("", "the path of a picture file is needed"),
        ):
            refused = await client.call_tool("upload_file", {"path": path})
            assert refused.is_error, path
            assert says in text_of(refused)
    async with forwarded(gateway.url) as client:
        assert "upload_file" not in [tool.name for tool in (await client.list_tools()).tools]
        with pytest.raises(MCPError, match="No tool is called 'upload_file'"):
            await client.call_tool("upload_file", {"path": "sign.png"})


@pytest.mark.parametrize("spec", [spec for spec, _ in offered_skills(load_profile("cpu"))], ids=lambda spec: spec.name)
def test_all_real_skills_have_a_name_and_a_schema_that_clients_take(spec: Any) -> None:
    tool = SkillTool(spec, fake_parts(), GatewayMetrics()).definition
    assert validate_tool_name(tool.name).is_valid
    assert not set(spec.args_model.model_fields) & {str(kind) for kind in spec.consumes}
    properties = set(spec.args_model.model_fields) | set(spec.consumes)
    assert "overlay" not in properties
    assert set(tool.input_schema["properties"]) - {"overlay"} == properties
    assert set(tool.input_schema["required"]) <= set(tool.input_schema["properties"])


def test_a_skill_may_not_take_the_name_of_another_tool() -> None:
    class Chatty(FakeSkills):
        def specs(self) -> Any:
            return [replace(super().specs()[0], name="chat")]

    with pytest.raises(ValueError, match="Two MCP tools would be called 'chat'"):
        mcp_server(fake_parts(skills=Chatty()), GatewayMetrics(), "1")
