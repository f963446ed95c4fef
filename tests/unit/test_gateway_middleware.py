from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from gateway_fakes import FakeSkills, fake_parts, picture
from structlog import reset_defaults
from structlog.testing import capture_logs

from gateway.app import create_app
from gateway.settings import GatewaySettings
from services.core.errors import SkillFailed
from services.core.logs import configure_logs


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(fake_parts(settings=GatewaySettings(body_bytes_max=1000)))) as client:
        yield client


async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz", headers={"X-Request-ID": "from-Client_1.2"})
    assert response.headers["X-Request-ID"] == "from-Client_1.2"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "id\tid", "<script>"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, bad: str) -> None:
    response = await client.get("/healthz", headers={"X-Request-ID": bad})
    assert response.headers["X-Request-ID"].startswith("req_")


async def test_a_body_of_the_limit_is_read(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat/completions", content=b" " * 1000)
    assert response.status_code == 422


async def test_a_declared_body_over_the_limit_is_refused_unread(client: httpx.AsyncClient) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = await client.post("/v1/chat/completions", content=unread(), headers={"Content-Length": "1001"})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images"])
async def test_a_streamed_body_is_refused_as_soon_as_it_is_over_the_limit(client: httpx.AsyncClient, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += 400
            yield b"x" * 400

    form = path.endswith("images")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' if form else b""
    headers = {"Content-Type": "multipart/form-data; boundary=x" if form else "application/json"}
    response = await client.post(path, content=endless(), headers=headers)
    assert response.status_code == 413
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
    assert sent <= 1600


async def test_an_unforeseen_exception_becomes_a_500_that_says_nothing_of_it() -> None:
    app = create_app(fake_parts(skills=FakeSkills(fails=ZeroDivisionError("secret path /srv"))))
    async with client_of(app) as client:
        image = (await client.post("/v1/images", files={"file": picture()})).json()["id"]
        with capture_logs() as lines:
            response = await client.post("/v1/tools/reader", json={"image": image})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["code"] == "internal_error"
    assert [line["event"] for line in lines] == ["unhandled_error", "request"]
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)


async def test_a_skill_failure_is_logged_but_its_words_are_not_passed_on() -> None:
    app = create_app(fake_parts(skills=FakeSkills(fails=SkillFailed("CUDA error in /internal/kernel.cu"))))
    async with client_of(app) as client:
        image = (await client.post("/v1/images", files={"file": picture()})).json()["id"]
        with capture_logs() as lines:
            response = await client.post("/v1/tools/reader", json={"image": image})
    assert response.status_code == 500
    assert "CUDA" not in response.text
    assert lines[0]["event"] == "request_failed"


async def test_every_request_is_one_log_line_with_route_template_and_status(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/v1/sessions/nonsense")
        await client.get("/nowhere/at/all")
    assert [(line["event"], line["method"], line["route"], line["status"]) for line in lines] == [
        ("request", "GET", "/v1/sessions/{session_id}", 404),
        ("request", "GET", "(unmatched)", 404),
    ]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the configured logs write."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("gateway", stream=stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    reset_defaults()


async def test_log_lines_are_json_with_the_request_id(client: httpx.AsyncClient, written: io.StringIO) -> None:
    await client.get("/v1/tools", headers={"X-Request-ID": "first"})
    await client.get("/v1/models", headers={"X-Request-ID": "second"})
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["request_id"], line["route"]) for line in requests] == [
        ("first", "/v1/tools"),
        ("second", "/v1/models"),
    ]
    assert {line["component"] for line in requests} == {"gateway"}


async def test_probes_are_logged_at_debug_level_only(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/healthz")
    assert [line["log_level"] for line in lines] == ["debug"]
