"""Every bad input gets a 4xx in OpenAI's error format with a request id, and the service goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_fakes import data_url, picture, question

from services.core.images import image_id

UNKNOWN_HANDLE = "img_" + "0" * 40
UNKNOWN_SESSION = "sess_" + "0" * 32
HUNDRED_MEGAPIXELS = picture("PNG", (10_000, 10_000), mode="1", color=0)
TRUNCATED = picture("JPEG", (640, 480))[:-400]
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|/work|/home|/usr|pydantic|redis|starlette|fastapi|0x[0-9a-f]{6}", re.I
)


@dataclass(frozen=True)
class Bad:
    """A request that is wrong, and how it is answered."""

    name: str
    status: int
    code: str
    path: str
    body: Any = None
    method: str = "POST"
    raw: bytes | None = None
    files: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, client: httpx.Client) -> httpx.Response:
        if self.files is not None:
            return client.request(self.method, self.path, files=self.files)
        if self.raw is not None:
            headers = {"Content-Type": "application/json"} | self.headers
            return client.request(self.method, self.path, content=self.raw, headers=headers)
        return client.request(self.method, self.path, json=self.body, headers=self.headers)


def upload(name: str, data: bytes, code: str = "invalid_image", status: int = 400) -> Bad:
    return Bad(f"upload: {name}", status, code, "/v1/images", files={"file": ("a.png", data)})


def chat(name: str, code: str, status: int = 422, **body: Any) -> Bad:
    return Bad(f"chat: {name}", status, code, "/v1/chat/completions", body={"messages": [question("Hi")]} | body)


def tool(name: str, code: str, status: int = 422, path: str = "reader", **body: Any) -> Bad:
    return Bad(f"tool: {name}", status, code, f"/v1/tools/{path}", body=body)


BAD_INPUTS = [
    upload("a text file", b"hello"),
    upload("an empty file", b""),
    upload("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    upload("a truncated JPEG", TRUNCATED),
    upload("100 megapixels", HUNDRED_MEGAPIXELS),
    upload("400 megapixels", picture("PNG", (20_000, 20_000), mode="1", color=0)),
    upload("16 MB", b"\x89PNG" + bytes(16 * 2**20)),
    upload("30 MB", bytes(30 * 2**20), code="body_too_large", status=413),
    Bad("upload: no file", 400, "invalid_request", "/v1/images", files={"other": b"x"}),
    Bad("upload: not multipart", 400, "invalid_request", "/v1/images", body={"file": "x"}),
    Bad(
        "upload: broken multipart",
        400,
        "bad_request",
        "/v1/images",
        raw=b"nonsense",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    ),
    Bad("chat: 30 MB", 413, "body_too_large", "/v1/chat/completions", raw=b" " * (30 * 2**20)),
    Bad("chat: no JSON", 400, "invalid_json", "/v1/chat/completions", raw=b"{"),
    Bad("chat: not UTF-8", 400, "bad_request", "/v1/chat/completions", raw=b'{"model": "\xff"}'),
    Bad("chat: nested without end", 400, "bad_request", "/v1/chat/completions", raw=b"[" * 100_000),
    Bad("chat: no object", 422, "invalid_request", "/v1/chat/completions", raw=b"[]"),
    Bad("chat: no body", 422, "invalid_request", "/v1/chat/completions", raw=b""),
    Bad(
        "chat: not a JSON type",
        422,
        "invalid_request",
        "/v1/chat/completions",
        raw=b"a=b",
        headers={"Content-Type": "x/y"},
    ),
    Bad(
        "chat: half a surrogate pair",
        422,
        "invalid_request",
        "/v1/chat/completions",
        raw=rb'{"messages": [{"role": "user", "content": [{"type": "\ud800"}]}]}',
    ),
    Bad(
        "chat: text with half a surrogate pair",
        422,
        "invalid_request",
        "/v1/chat/completions",
        raw=rb'{"messages": [{"role": "user", "content": "x \ud800"}]}',
    ),
    chat("no messages", "invalid_request", messages=[]),
    chat("an empty message", "invalid_request", 400, messages=[question("")]),
    chat("a blank message", "invalid_request", 400, messages=[{"role": "user", "content": " \n"}]),
    chat("no content", "invalid_request", 400, messages=[{"role": "user"}]),
    chat("a picture without a question", "invalid_request", 400, messages=[question("", data_url(picture()))]),
    chat("an unknown role", "invalid_request", messages=[{"role": "tool", "content": "x"}]),
    chat("an unknown part", "invalid_request", messages=[{"role": "user", "content": [{"type": "video"}]}]),
    chat("content of the wrong type", "invalid_request", messages=[{"role": "user", "content": 3}]),
    chat("a temperature that is no number", "invalid_request", temperature="hot"),
    chat("max_tokens of zero", "invalid_request", max_tokens=0),
    chat("a seed beyond 64 bits", "invalid_request", seed=2**64),
    chat("five answers wanted", "invalid_request", 400, n=5),
    chat("two answers streamed", "invalid_request", 400, n=2, stream=True),
    chat("an unknown session", "session_not_found", 404, session_id=UNKNOWN_SESSION),
    chat("a session id that is none", "session_not_found", 404, session_id="../../etc"),
    chat("an unknown handle", "image_not_found", 404, messages=[question("Hi", UNKNOWN_HANDLE)]),
    chat("a handle that is none", "image_not_found", 404, messages=[question("Hi", "img_*")]),
    chat("a web address", "image_url_refused", 400, messages=[question("Hi", "http://169.254.169.254/latest")]),
    chat("a path", "invalid_request", 400, messages=[question("Hi", "/etc/passwd")]),
    chat("a data: URL of text", "invalid_image", 400, messages=[question("Hi", "data:text/plain;base64,aGk=")]),
    chat("broken base64", "invalid_image", 400, messages=[question("Hi", "data:image/png;base64,a b")]),
    chat("base64 of text", "invalid_image", 400, messages=[question("Hi", data_url(b"hello"))]),
    chat("a truncated picture", "invalid_image", 400, messages=[question("Hi", data_url(TRUNCATED))]),
    chat("100 megapixels", "invalid_image", 400, messages=[question("Hi", data_url(HUNDRED_MEGAPIXELS))]),
    chat("too long a message", "invalid_request", 400, messages=[question("x" * 8001)]),
    tool("an unknown tool", "unknown_skill", 404, path="nonsense"),
    tool("no picture", "invalid_request"),
    tool("an unknown handle", "image_not_found", 404, image=UNKNOWN_HANDLE),
    tool("arguments of the wrong type", "invalid_request", image=UNKNOWN_HANDLE, arguments={"languages": 3}),
    tool("an unknown argument", "invalid_request", image=UNKNOWN_HANDLE, arguments={"nonsense": 1}),
    tool("arguments that are no object", "invalid_request", image=UNKNOWN_HANDLE, arguments="x"),
    tool("a picture of text", "invalid_image", 400, image=data_url(b"hello")),
    Bad("an unknown session", 404, "session_not_found", f"/v1/sessions/{UNKNOWN_SESSION}", method="GET"),
    Bad("an unknown picture", 404, "image_not_found", f"/v1/images/{UNKNOWN_HANDLE}", method="GET"),
    Bad("an unknown path", 404, "not_found", "/v2/nothing", method="GET"),
    Bad("a path with a slash too many", 404, "not_found", "/v1/tools/", method="GET"),
    Bad("a wrong method", 405, "method_not_allowed", "/v1/chat/completions", method="GET"),
]


@pytest.fixture(scope="module")
def client(gateway: Any) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_a_4xx_in_openai_format_and_the_service_goes_on(client: httpx.Client, bad: Bad) -> None:
    response = bad.send(client)
    assert response.status_code == bad.status, response.text
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code", "request_id"}
    assert error["code"] == bad.code
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert not INTERNALS.search(response.text)
    assert str(Path(__file__).parents[2]) not in response.text
    assert client.get("/healthz").status_code == 200


def test_a_body_that_streams_past_the_limit_is_refused_on_a_live_connection(client: httpx.Client) -> None:
    def endless(chunks: int) -> Iterator[bytes]:
        for _ in range(chunks):
            yield b" " * 2**20

    response = client.post("/v1/chat/completions", content=endless(30), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


def test_a_wrong_method_says_which_are_right(client: httpx.Client) -> None:
    assert client.delete("/v1/tools").headers["Allow"] == "GET"


@pytest.mark.parametrize("send", [lambda c: c.get("/v1/nothing"), lambda c: c.post("/v1/images", files={"file": b"x"})])
def test_the_clients_request_id_is_in_the_error(
    client: httpx.Client, send: Callable[[httpx.Client], httpx.Response]
) -> None:
    client.headers["X-Request-ID"] = "client-7"
    try:
        assert json.loads(send(client).text)["error"]["request_id"] == "client-7"
    finally:
        del client.headers["X-Request-ID"]


def test_a_handle_says_nothing_about_other_owners(client: httpx.Client) -> None:
    data = picture(color="blue")
    client.post("/v1/images", files={"file": data})
    assert client.get(f"/v1/images/{image_id(data, 'somebody-else')}").status_code == 404
