"""The Python client's protocol: retries, errors, streams, masks. No server is needed to see them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import llava_plus
from llava_plus import NO_RETRIES, Client, Delta, MaskRLE, Retries
from llava_plus.connection import http_options
from llava_plus.event_stream import EventDecoder
from llava_plus.masks import mask_array
from services.core.types import MaskRLE as ServedMask

QUICK = Retries(attempts_max=3, pause_s=0.0)
TOOLS = {"object": "list", "data": []}
BUSY = httpx.Response(503, json={"error": {"message": "Starting."}}, headers={"Retry-After": "0"})


def client_of(*script: httpx.Response | Exception, retries: Retries = QUICK) -> tuple[Client, list[httpx.Request]]:
    """A client whose server answers from the script, one entry a request."""
    asked: list[httpx.Request] = []
    rest = list(script)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        said = rest.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    return Client("http://platform", retries=retries, transport=httpx.MockTransport(answer)), asked


@pytest.mark.parametrize(
    "first", [httpx.ConnectError("refused"), httpx.ReadError("reset"), BUSY], ids=["refused", "broken", "busy"]
)
def test_what_can_be_sent_again_is(first: httpx.Response | Exception) -> None:
    client, asked = client_of(first, httpx.Response(200, json=TOOLS))
    assert client.tools() == []
    assert len(asked) == 2


def test_a_chat_is_sent_again_with_its_own_key() -> None:
    client, asked = client_of(httpx.ReadError("reset"), httpx.ReadError("reset"), httpx.ReadError("reset"))
    with pytest.raises(llava_plus.ServerUnreachable, match="broke"):
        client.ask("Hi")
    keys = {request.headers["idempotency-key"] for request in asked}
    assert (len(asked), len(keys)) == (3, 1)


def test_a_chat_whose_connection_broke_waits_for_its_first_sending() -> None:
    running = {"error": {"message": "Running.", "code": "message_running"}}
    answer = {
        "id": "c",
        "model": "m",
        "created": 1,
        "session_id": "s",
        "images": [],
        "produced_images": [],
        "cached": [],
    }
    choice = {"message": {"content": "Hi."}, "finish_reason": "stop"}
    client, asked = client_of(
        httpx.ReadError("reset"),
        httpx.Response(409, json=running, headers={"Retry-After": "0"}),
        httpx.Response(200, json=answer | {"choices": [choice]}, headers={"Idempotent-Replayed": "true"}),
    )
    said = client.ask("Hi")
    assert (said.text, said.repeated, len(asked)) == ("Hi.", True, 3)


def test_a_busy_session_is_left_to_the_caller() -> None:
    busy = {"error": {"message": "Busy.", "code": "session_busy"}}
    client, asked = client_of(httpx.Response(409, json=busy, headers={"Retry-After": "0"}))
    with pytest.raises(llava_plus.Conflict):
        client.ask("Hi")
    assert len(asked) == 1


def test_a_tool_call_whose_connection_broke_is_not_sent_again() -> None:
    client, asked = client_of(httpx.ReadError("reset"), httpx.Response(200, json=TOOLS))
    with pytest.raises(llava_plus.ServerUnreachable, match="broke"):
        client.call("sam")
    assert len(asked) == 1


@pytest.mark.parametrize(
    "said",
    [
        httpx.ReadTimeout("late"),
        httpx.Response(503, json={"error": {"message": "Away."}}),
        httpx.Response(503, json={"error": {"message": "Away."}}, headers={"Retry-After": "600"}),
        httpx.Response(500, json={"error": {"message": "Broken."}}, headers={"Retry-After": "0"}),
    ],
    ids=["timeout", "no time named", "too long", "another error"],
)
def test_what_is_not_worth_it_is_not_sent_again(said: httpx.Response | Exception) -> None:
    client, asked = client_of(said)
    with pytest.raises(llava_plus.LlavaPlusError):
        client.tools()
    assert len(asked) == 1


def test_attempts_are_bounded() -> None:
    client, asked = client_of(*[httpx.ConnectError("refused")] * 3)
    with pytest.raises(llava_plus.ServerUnreachable, match="Nothing answers at http://platform"):
        client.tools()
    assert len(asked) == 3
    client, asked = client_of(httpx.ConnectError("refused"), retries=NO_RETRIES)
    with pytest.raises(llava_plus.ServerUnreachable):
        client.tools()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, llava_plus.BadRequest),
        (401, llava_plus.NotAuthenticated),
        (403, llava_plus.NotAllowed),
        (404, llava_plus.NotFound),
        (409, llava_plus.Conflict),
        (413, llava_plus.BadRequest),
        (422, llava_plus.BadRequest),
        (429, llava_plus.TooManyRequests),
        (500, llava_plus.ServerFailed),
        (503, llava_plus.Unavailable),
        (504, llava_plus.DeadlineExceeded),
    ],
)
def test_an_error_keeps_what_the_server_said(status: int, kind: type[llava_plus.ApiError]) -> None:
    told = {"message": "No.", "code": "some_code", "param": "a.b", "request_id": "req_1"}
    client, _ = client_of(
        httpx.Response(status, json={"error": told}, headers={"Retry-After": "7"}), retries=NO_RETRIES
    )
    with pytest.raises(kind) as raised:
        client.tools()
    assert type(raised.value) is kind
    assert raised.value.as_dict() == told | {"status": status, "retry_after_s": 7.0}


@pytest.mark.parametrize("answer", [httpx.Response(502, text="<html>"), httpx.Response(200, text="<html>")])
def test_another_server_is_not_mistaken_for_the_platform(answer: httpx.Response) -> None:
    client, _ = client_of(answer)
    with pytest.raises(llava_plus.UnexpectedAnswer, match="http://platform/v1/tools"):
        client.tools()


def sse(*items: Any) -> bytes:
    return b"".join(
        b"data: " + (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n\n" for item in items
    )


def piece(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": None}]}


LAST = {
    "id": "c",
    "model": "m",
    "created": 1,
    "choices": [{"delta": {}, "finish_reason": "stop"}],
    "session_id": "sess_1",
    "images": [],
    "produced_images": [],
    "cached": [],
}


def streamed(body: bytes) -> Client:
    return client_of(httpx.Response(200, content=body))[0]


def test_a_stream_is_read_whatever_its_text_holds() -> None:
    odd = "a\u2028b\x85c \N{PIG FACE}"
    body = sse(json.dumps(piece(odd), ensure_ascii=False).encode(), LAST, b"[DONE]")
    with streamed(body).stream("Hi") as stream:
        assert list(stream.text()) == [odd]
    assert stream.answer is not None
    assert (stream.answer.text, stream.answer.session_id) == (odd, "sess_1")


def test_an_error_in_the_middle_of_a_stream_is_raised_as_what_it_is() -> None:
    told = {"message": "Busy.", "type": "invalid_request_error", "code": "session_busy", "request_id": "r"}
    with streamed(sse(piece("Well"), {"error": told})).stream("Hi") as stream:
        events = iter(stream)
        assert next(events) == Delta("Well")
        with pytest.raises(llava_plus.Conflict, match="Busy"):
            next(events)


@pytest.mark.parametrize("body", [sse(piece("Well")), sse(b"{"), sse({"choices": [3]}), sse(piece("x"), b"[DONE]")])
def test_a_stream_that_breaks_off_or_makes_no_sense_is_an_error(body: bytes) -> None:
    with streamed(body).stream("Hi") as stream, pytest.raises(llava_plus.UnexpectedAnswer):
        list(stream)


def test_events_are_cut_where_lines_end_wherever_the_bytes_are_cut() -> None:
    whole = b": comment\r\ndata: one\r\n\r\nevent: x\ndata: two\ndata: more\n\ndata: lost"
    for cut in range(len(whole)):
        decoder = EventDecoder()
        assert [*decoder.feed(whole[:cut]), *decoder.feed(whole[cut:])] == ["one", "two\nmore"]


def test_masks_are_decoded_as_the_server_encoded_them() -> None:
    random = np.random.default_rng(5)
    for height, width, share in ((1, 1, 0.0), (1, 1, 1.0), (7, 5, 0.5), (300, 200, 0.01), (64, 64, 0.9)):
        mask = random.random((height, width)) < share
        served = ServedMask.from_array(mask)
        assert np.array_equal(MaskRLE(size=served.size, counts=served.counts).to_array(), mask)


@pytest.mark.parametrize("counts", ["", "~", "o", "1", "\u20ac", "0" * 9, "oooooooo1"])
def test_a_damaged_mask_is_refused(counts: str) -> None:
    with pytest.raises(llava_plus.BadMask):
        mask_array(counts, 4, 4)


def test_results_are_read_whatever_they_are_called() -> None:
    mask = ServedMask.from_array(np.ones((2, 2), bool)).model_dump(mode="json")
    handle = "img_" + "a" * 40
    result = {
        "boxes": [[0.0, 0.25, 0.5, 1.0]],
        "phrases": ["pig"],
        "logits": [0.5],
        "mask_rle": mask,
        "image_seg": handle,
    }
    found = llava_plus.ToolResult(tool="x", result=result)
    (box,) = found.boxes
    assert box.pixels(100, 40) == (0, 10, 50, 40)
    assert (found.labels, found.scores, found.pictures) == (["pig"], [0.5], {"image_seg": handle})
    assert found.masks()[0].all()
    assert llava_plus.ToolResult(tool="x", result={"labels": [{"name": "sky"}]}).labels == ["sky"]
    assert llava_plus.StepCall(skill="x", error={"message": "no"}).boxes == []


@pytest.mark.parametrize("given", ["http://host:1/v1", "http://host:1/", "http://host:1"])
def test_an_address_may_end_as_openai_clients_write_it(given: str) -> None:
    assert Client(given).base_url == "http://host:1"


@pytest.mark.parametrize("given", ["localhost:8000", "ftp://host", "http://"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Client(given)


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_PLUS_URL", "https://elsewhere")
    monkeypatch.setenv("LLAVA_PLUS_API_KEY", "k")
    options = http_options(None, None, 1.0)
    assert (str(options["base_url"]), options["headers"]) == ("https://elsewhere", {"Authorization": "Bearer k"})
    assert options["trust_env"]
    assert not http_options("http://127.0.0.1:8000", "", 1.0)["trust_env"], "no proxy reaches this machine's loopback"


def test_a_long_call_may_have_a_longer_wait() -> None:
    client, asked = client_of(httpx.Response(200, json={"tool": "sam", "result": {}}))
    client.call("grounding_dino+sam", timeout_s=900.0)
    assert asked[0].extensions["timeout"]["read"] == 900.0
    assert asked[0].extensions["timeout"]["connect"] < 60.0
    assert asked[0].url.raw_path == b"/v1/tools/grounding_dino%2Bsam"


def test_a_stream_is_used_in_a_with() -> None:
    with pytest.raises(RuntimeError, match="with"):
        next(iter(streamed(b"").stream("Hi")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I", "I;16", "YCbCr"])
def test_pictures_of_every_kind_are_uploaded_as_png(mode: str) -> None:
    info = {"id": "img_1", "width": 3, "height": 2, "media_type": "image/png", "bytes": 9, "created": 1, "expires": 2}
    client, asked = client_of(httpx.Response(201, json=info))
    client.upload(Image.new(mode, (3, 2)))
    sent = asked[0].read()
    assert Image.open(io.BytesIO(sent[sent.index(b"\x89PNG") :])).size == (3, 2)


def test_a_photo_is_uploaded_with_the_right_side_up() -> None:
    lying = Image.new("RGB", (3, 2))
    lying.getexif()[0x0112] = 6
    client, asked = client_of(httpx.Response(500, json={"error": {"message": "x"}}))
    with pytest.raises(llava_plus.ServerFailed):
        client.upload(lying)
    sent = asked[0].read()
    assert Image.open(io.BytesIO(sent[sent.index(b"\x89PNG") :])).size == (2, 3)


def test_importing_the_client_brings_nothing_of_the_platform() -> None:
    script = "import sys, llava_plus; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    roots = {module.partition(".")[0] for module in modules}
    assert not roots & {"torch", "ray", "fastapi", "numpy", "services", "gateway", "planner", "deploy", "grpc"}
