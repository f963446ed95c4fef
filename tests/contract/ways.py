"""Clients of the platform as ways to have the conversations of `tests.contract.conversations`."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import mcp_types as types
import openai
from anyio.from_thread import BlockingPortal, start_blocking_portal
from gateway_fakes import data_url
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from mcp import Client, StdioServerParameters

import llava_plus
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from tests.contract.conversations import Said, Way
from tests.contract.node_packages import installed, run
from tests.web.way import page_way

ROOT = Path(__file__).parents[2]
Box = tuple[float, float, float, float]
WAIT_S = 120.0


def openai_content(text: str, pictures: Sequence[bytes | str], boxes: Sequence[Box]) -> list[dict[str, Any]]:
    """A message's parts, as OpenAI's clients send them."""
    urls = [one if isinstance(one, str) else data_url(one) for one in pictures]
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    content += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*content, {"type": "boxes", "boxes": boxes}] if boxes else content


class OpenAIWay:
    """The official Python client; pictures, which it knows no call for, through plain HTTP."""

    def __init__(self, client: openai.OpenAI, http: httpx.Client) -> None:
        self._client = client
        self._http = http

    def upload(self, data: bytes) -> str:
        return str(self._http.post("/v1/images", files={"file": data}).json()["id"])

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        message: Any = {"role": "user", "content": openai_content(text, pictures, boxes)}
        more = {"session_id": session} if session else {}
        answer: Any = self._client.chat.completions.create(model="llava-plus", messages=[message], extra_body=more)
        made = [self._http.get(f"/v1/images/{handle}").content for handle in answer.produced_images]
        return Said(answer.choices[0].message.content, answer.session_id, made)


class OpenAIJavaScriptWay:
    """The official client for JavaScript, one process a question."""

    VERSION = "7.57.0"
    SCRIPT = Path(__file__).parent / "javascript" / "ask.mjs"

    def __init__(self, url: str, http: httpx.Client) -> None:
        self._url = url
        self._http = http
        self._folder = installed("openai", self.VERSION)

    def upload(self, data: bytes) -> str:
        return str(self._http.post("/v1/images", files={"file": data}).json()["id"])

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        asked = {"content": openai_content(text, pictures, boxes), "session_id": session}
        answer = json.loads(run(self.SCRIPT, self._folder, f"{self._url}/v1", json.dumps(asked)))
        made = [self._http.get(f"/v1/images/{handle}").content for handle in answer["produced"]]
        return Said(answer["text"], answer["session"], made)


class PythonWay:
    """The platform's own client."""

    def __init__(self, client: llava_plus.Client) -> None:
        self._client = client

    def upload(self, data: bytes) -> str:
        return self._client.upload(data).id

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        answer = self._client.ask(text, *pictures, session=session, **({"boxes": boxes} if boxes else {}))
        made = [self._client.image_bytes(handle) for handle in answer.produced_images]
        return Said(answer.text, answer.session_id, made)


class PythonAsyncWay:
    """The same for an event loop, with answers as they are written."""

    def __init__(self, client: llava_plus.AsyncClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def upload(self, data: bytes) -> str:
        return self._portal.call(self._client.upload, data).id

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        return self._portal.call(self._streamed, text, pictures, boxes, session)

    async def _streamed(
        self, text: str, pictures: Sequence[bytes | str], boxes: Sequence[Box], session: str | None
    ) -> Said:
        async with self._client.stream(text, *pictures, session=session, boxes=boxes) as stream:
            said = "".join([piece async for piece in stream.text()])
        assert stream.answer is not None
        made = [await self._client.image_bytes(handle) for handle in stream.answer.produced_images]
        return Said(said, stream.answer.session_id, made)


class CommandLineWay:
    """`llava-plus`, one process a question, pictures as files."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder

    def upload(self, data: bytes) -> str:
        return self._run("images", "upload", self._file(data))[0]["id"]

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        files = [one if isinstance(one, str) else self._file(one) for one in pictures]
        marks = [word for box in boxes for word in ("--box", ",".join(map(str, box)))]
        more = ["--session", session] if session else []
        made = self._folder / "made"
        answer = self._run("chat", *files, "-m", text, *marks, *more, "-o", str(made))
        return Said(answer["text"], answer["session_id"], [Path(file).read_bytes() for file in answer["files"]])

    def _file(self, data: bytes) -> str:
        path = self._folder / f"{len(list(self._folder.iterdir()))}.png"
        path.write_bytes(data)
        return str(path)

    def _run(self, *words: str) -> Any:
        command = [sys.executable, "-m", "deploy.cli.main", *words, "--json", "--url", self._url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class GrpcWay:
    """The modules that are generated from the `.proto`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._platform: Any = PlatformStub(channel)

    def upload(self, data: bytes) -> str:
        pieces = (pb.UploadImageRequest(data=data[start : start + 64]) for start in range(0, len(data), 64))
        return str(self._platform.UploadImage(pieces, timeout=WAIT_S).id)

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        sent = [pb.Picture(id=one) if isinstance(one, str) else pb.Picture(data=one) for one in pictures]
        request = pb.ChatRequest(
            text=text,
            pictures=[pb.NamedPicture(picture=one) for one in sent],
            boxes=[pb.Box(x0=x0, y0=y0, x1=x1, y1=y1) for x0, y0, x1, y1 in boxes],
            session_id=session or "",
        )
        events = list(self._platform.Chat(request, timeout=WAIT_S))
        finished = events[-1].finished
        return Said("".join(event.delta.text for event in events), finished.session_id, self._made(finished))

    def _made(self, finished: pb.ChatFinished) -> list[bytes]:
        requests = [pb.GetImageRequest(id=handle) for handle in finished.produced_images]
        return [b"".join(chunk.data for chunk in self._platform.GetImage(one, timeout=WAIT_S)) for one in requests]


class ReflectionWay:
    """A client that knows no `.proto`: JSON in, JSON out, all by reflection, as grpcurl does it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self._service = pool.FindServiceByName("llava_plus.v1.Platform")

    def upload(self, data: bytes) -> str:
        return str(self._call("UploadImage", {"data": _text(data)})[0]["id"])

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        sent = [{"id": one} if isinstance(one, str) else {"data": _text(one)} for one in pictures]
        request = {
            "text": text,
            "pictures": [{"picture": one} for one in sent],
            "boxes": [dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) for box in boxes],
            "sessionId": session or "",
        }
        events = self._call("Chat", request)
        finished = events[-1]["finished"]
        made = [self._picture(handle) for handle in finished.get("producedImages", ())]
        return Said(finished["answer"], finished["sessionId"], made)

    def _picture(self, handle: str) -> bytes:
        chunks = self._call("GetImage", {"id": handle})
        return b"".join(base64.b64decode(chunk["data"]) for chunk in chunks)

    def _call(self, name: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        method = self._service.methods_by_name[name]
        message = json_format.ParseDict(request, message_factory.GetMessageClass(method.input_type)())
        # Every kind of method is called as the most general one.
        call = self._channel.stream_stream(
            f"/{self._service.full_name}/{name}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        return [json_format.MessageToDict(one) for one in call(iter([message]), timeout=WAIT_S)]


class McpWay:
    """The `mcp` package's client."""

    def __init__(self, client: Client, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def upload(self, data: bytes) -> str:
        return str(self._call("upload_image", {"image": data_url(data)}).structured_content["id"])

    def ask(
        self, text: str, pictures: Sequence[bytes | str] = (), boxes: Sequence[Box] = (), session: str | None = None
    ) -> Said:
        arguments: dict[str, Any] = {
            "text": text,
            "images": [one if isinstance(one, str) else data_url(one) for one in pictures],
            "boxes": boxes,
        }
        result = self._call("chat", arguments | ({"session_id": session} if session else {}))
        made = [base64.b64decode(one.data) for one in result.content if isinstance(one, types.ImageContent)]
        return Said(result.structured_content["answer"], result.structured_content["session_id"], made)

    def _call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        result = self._portal.call(self._client.call_tool, tool, arguments)
        assert not result.is_error, result.content
        return result


@contextmanager
def openai_way(url: str, _: str) -> Iterator[Way]:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=WAIT_S)
    with client, httpx.Client(base_url=url, timeout=WAIT_S) as http:
        yield OpenAIWay(client, http)


@contextmanager
def openai_javascript_way(url: str, _: str) -> Iterator[Way]:
    with httpx.Client(base_url=url, timeout=WAIT_S) as http:
        yield OpenAIJavaScriptWay(url, http)


@contextmanager
def python_way(url: str, _: str) -> Iterator[Way]:
    with llava_plus.Client(url) as client:
        yield PythonWay(client)


@contextmanager
def python_async_way(url: str, _: str) -> Iterator[Way]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(llava_plus.AsyncClient(url)) as client:
        yield PythonAsyncWay(client, portal)


@contextmanager
def command_line_way(url: str, _: str) -> Iterator[Way]:
    with tempfile.TemporaryDirectory() as folder:
        yield CommandLineWay(url, Path(folder))


@contextmanager
def grpc_way(_: str, target: str) -> Iterator[Way]:
    with grpc.insecure_channel(target) as channel:
        yield GrpcWay(channel)


@contextmanager
def grpc_reflection_way(_: str, target: str) -> Iterator[Way]:
    with grpc.insecure_channel(target) as channel:
        yield ReflectionWay(channel)


@contextmanager
def mcp_way(url: str, _: str) -> Iterator[Way]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(f"{url}/mcp")) as client:
        yield McpWay(client, portal)


@contextmanager
def mcp_stdio_way(url: str, _: str) -> Iterator[Way]:
    arguments = ["-m", "deploy.cli.main", "mcp", "--url", url]
    server = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server)) as client:
        yield McpWay(client, portal)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


WAYS = (
    openai_way,
    openai_javascript_way,
    python_way,
    python_async_way,
    command_line_way,
    grpc_way,
    grpc_reflection_way,
    mcp_way,
    mcp_stdio_way,
    page_way,
)
