"""The gRPC server's life beside the HTTP one, and its errors as codes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from gateway_fakes import ScriptedTurns, fake_parts

from gateway.api.answer_text import with_the_rest
from gateway.api.grpc.server import PortTaken, grpc_server
from gateway.api.grpc.status import status_code, trailing_metadata
from gateway.app import create_app
from gateway.errors import HttpError
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished
from gateway.parts import GatewayParts
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from tests.conftest import free_port

LOOPBACK = "127.0.0.1:0"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def connected(parts: GatewayParts) -> AsyncIterator[Any]:
    """A server and a client of it."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(grpc_server(parts, GatewayMetrics(), LOOPBACK))
        yield PlatformStub(await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}")))


async def test_it_listens_while_the_application_runs() -> None:
    port = free_port()
    app = create_app(fake_parts(settings=GatewaySettings(grpc_port=port)))
    async with app.router.lifespan_context(app):
        assert listens(port)
    assert not listens(port)


async def test_without_a_port_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(grpc.aio, "server", lambda **_: started.append("server"))
    app = create_app(fake_parts())
    async with app.router.lifespan_context(app):
        assert started == []


async def test_a_taken_port_ends_the_start_with_the_setting_that_chooses_another() -> None:
    closed = False

    async def close() -> None:
        nonlocal closed
        closed = True

    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = GatewaySettings(grpc_port=taken.getsockname()[1])
        parts = fake_parts(settings=settings, close=close)

        async def make_parts(_: GatewaySettings) -> object:
            return parts

        app = create_app(make_parts=make_parts, specs=())  # type: ignore[arg-type]
        with pytest.raises(PortTaken, match="set LLAVA_PLUS_GRPC_PORT to a free port"):
            async with app.router.lifespan_context(app):
                pass
    assert closed


async def test_a_stop_ends_calls_that_do_not_end_themselves_and_stops_their_work() -> None:
    running, closed = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        running.set()
        await asyncio.Event().wait()

    turns = ScriptedTurns(["Well", hang], closed=closed.set)
    parts = fake_parts(turns, settings=GatewaySettings(grpc_grace_s=0.05))
    async with grpc_server(parts, GatewayMetrics(), LOOPBACK) as port:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        call = PlatformStub(channel).Chat(pb.ChatRequest(text="Hi"))
        assert (await call.read()).delta.text == "Well"
        await running.wait()
    async with asyncio.timeout(5):
        await closed.wait()
        assert await call.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    await channel.close()


async def test_more_calls_than_are_answered_at_once_are_told_so() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    parts = fake_parts(ScriptedTurns(["Well", hang]), settings=GatewaySettings(grpc_calls_max=1, grpc_grace_s=0))
    async with connected(parts) as platform:
        first = platform.Chat(pb.ChatRequest(text="Hi"))
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await platform.ListTools(pb.ListToolsRequest())
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


async def test_an_upload_that_takes_too_long_is_ended() -> None:
    parts = fake_parts(settings=GatewaySettings(tool_deadline_s=0.1))
    async with connected(parts) as platform:
        upload = platform.UploadImage()
        await upload.write(pb.UploadImageRequest(data=b"x"))
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await upload
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert dict(late.value.trailing_metadata())["code"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "RESOURCE_EXHAUSTED"),
        (422, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_an_http_status_has_its_canonical_code(status: int, code: str) -> None:
    assert status_code(HttpError(status, "c", "t", "m")).name == code


def test_metadata_holds_ascii_alone_whatever_a_client_called_its_field() -> None:
    found = trailing_metadata(HttpError(400, "c", "t", "m", "größe\n\x00" + "x" * 500), "req_1")
    param = dict(found)["param"]
    assert param.isascii()
    assert param.isprintable()
    assert len(param) < 300


@pytest.mark.parametrize(
    ("pieces", "answer", "expected"),
    [
        (["It ", "is."], "It is.", ["It ", "is."]),
        (["It is."], "It is. Not done: an edit.", ["It is.", " Not done: an edit."]),
        ([], "It is.", ["It is."]),
        (["A draft"], "Something else.", ["A draft"]),
    ],
)
async def test_what_an_answer_has_beyond_its_pieces_is_sent_as_the_last_one(
    pieces: list[str], answer: str, expected: list[str]
) -> None:
    finished = TurnFinished(answer, Session(id="sess_1", owner="me", created=0.0))

    async def events() -> object:
        for piece in pieces:
            yield AnswerDelta(piece)
        yield finished

    seen: list[TurnEvent] = [event async for event in with_the_rest(events())]  # type: ignore[arg-type]
    assert [event.text for event in seen if isinstance(event, AnswerDelta)] == expected
    assert seen[-1] is finished
