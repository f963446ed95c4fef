"""A small endpoint that speaks OpenAI's chat completions, streamed, and is strict about what it is sent."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def calls(*named: tuple[str, str], content: str | None = None, piece: int = 6) -> list[dict[str, Any]]:
    """The deltas of a reply with tool calls, their arguments in pieces."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": content}]
    for index, (name, arguments) in enumerate(named):
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        pieces = [arguments[start : start + piece] for start in range(0, len(arguments), piece)]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": one}}]} for one in pieces]
    return deltas


def text(*words: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]


@dataclass
class Endpoint:
    """Replies in order, the last one for ever. A reply is a list of deltas, a status with a body, or "hang"."""

    replies: list[Any]
    finish: str = "stop"
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/v1/models", lambda: {"object": "list", "data": []}, methods=["GET"])
        app.add_api_route("/v1/chat/completions", self._complete, methods=["POST"], response_model=None)
        return app

    async def _complete(self, request: Request) -> Any:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("authorization"))
        self.problems += problems_of(body)
        reply = self.reply_to(body)
        if isinstance(reply, tuple):
            return JSONResponse(reply[1], status_code=reply[0])
        return StreamingResponse(self._stream(reply), media_type="text/event-stream")

    def reply_to(self, body: dict[str, Any]) -> Any:
        """The next reply, whatever was asked."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def _stream(self, reply: Sequence[dict[str, Any]] | str) -> AsyncIterator[bytes]:
        if reply == "hang":
            try:
                yield _event({"choices": [{"index": 0, "delta": {"content": "Well"}, "finish_reason": None}]})
                await asyncio.Event().wait()
            finally:
                self.left.set()
        for delta in reply:
            assert isinstance(delta, dict)
            yield _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield b": a comment\n\ndata: not JSON\n\n"
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
        yield _event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}})
        yield b"data: [DONE]\n\n"


def problems_of(body: dict[str, Any]) -> list[str]:
    """What OpenAI would answer 400 for."""
    found = [
        f"function name {tool['function']['name']!r}"
        for tool in body.get("tools", ())
        if not _NAME.fullmatch(tool["function"]["name"])
    ]
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                found.append(f"no call {message['tool_call_id']}")
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            found.append(f"calls without answers: {waiting}")
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        parts = message["content"] if isinstance(message["content"], list) else []
        found += [f"part {part['type']}" for part in parts if part["type"] not in ("text", "image_url")]
        if message["content"] is None and not waiting:
            found.append("a message without content")
    return found + ([f"calls without answers: {waiting}"] if waiting else [])


class Served(Protocol):
    """What can be put on a local port; it is told its `url`."""

    url: str

    def app(self) -> Any: ...


ServedT = TypeVar("ServedT", bound=Served)


@asynccontextmanager
async def serving(endpoint: ServedT) -> AsyncIterator[ServedT]:
    server = uvicorn.Server(uvicorn.Config(endpoint.app(), log_config=None, access_log=False, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        endpoint.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        try:
            yield endpoint
        finally:
            server.should_exit = True
            await task


@contextmanager
def serving_in_a_thread(endpoint: ServedT) -> Iterator[ServedT]:
    """For tests without an event loop of their own."""
    server = uvicorn.Server(uvicorn.Config(endpoint.app(), log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The socket listens already: a client that comes early waits in its queue.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        endpoint.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        try:
            yield endpoint
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def _event(body: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
