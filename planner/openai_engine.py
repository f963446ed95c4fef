"""Bring your own planner: any endpoint that speaks OpenAI's chat completions, with pictures."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from redis.exceptions import RedisError

from planner.api import PlannerUnavailable
from planner.prompt import compact_json
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.errors import ImageNotFound
from services.core.images import DATA_KEY, BytesReader

_TOO_LONG = ("context_length_exceeded", "string_above_max_length", "context length", "too many tokens")
_MEDIA_TYPES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))
_LINE_CHARS_MAX = 2**20


class OpenAIEngine:
    """Implements `planner.client.Engine` over HTTP.

    What comes back is streamed in the `json` dialect's form where the request has tools, else as it is. A text is held
    back until it is certain that no tool call follows, since only an answer may be shown; in a reply that may call no
    tools it is streamed.

    Args:
        url: base URL with its version, for example `https://example.org/v1`.
        model: the endpoint's name of the model.
        pictures: reads stored pictures, which go along as data: URLs.
        key: sent as a bearer token.
        transport: for tests; httpx's own by default.
    """

    def __init__(
        self,
        url: str,
        model: str,
        pictures: BytesReader,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/", headers=headers, transport=transport, trust_env=False, timeout=None
        )
        self._model = model
        self._pictures = pictures
        self._log = structlog.get_logger("planner.openai")

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        """Whether the endpoint answers at all; some list no models."""
        try:
            return (await self._client.get("models", timeout=2.0)).status_code < 500
        except httpx.HTTPError:
            return False

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        """See `planner.client.Engine.generate`."""
        try:
            body = self._body(request, await self._with_pictures(request.messages))
        except ImageNotFound as error:
            yield EngineChunk(error="image_not_found", message=error.message)
            return
        except (RedisError, OSError) as error:
            raise PlannerUnavailable("The store of pictures does not answer. Try again.") from error
        reply = _Reply(native=request.tools is not None, may_act=request.may_act)
        try:
            async with self._client.stream(
                "POST", "chat/completions", json=body, headers={"X-Request-ID": request.request_id}
            ) as response:
                if response.status_code != httpx.codes.OK:
                    yield self._refusal(response.status_code, (await response.aread()).decode("utf-8", "replace"))
                    return
                async for event in _events(response):
                    text = reply.take(event)
                    if text:
                        yield EngineChunk(text=text)
        except httpx.HTTPError as error:
            raise PlannerUnavailable(f"The planner's endpoint cannot be reached: {type(error).__name__}.") from error
        rest = reply.rest()
        if rest:
            yield EngineChunk(text=rest)
        if reply.finish_reason is None:
            yield EngineChunk(error="broken_off", message="The planner's answer broke off. Try again.")
            return
        yield EngineChunk(
            final=True,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish_reason=reply.finish_reason,
        )

    def _body(self, request: EngineRequest, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.tools:
            body |= {"tools": request.tools, "tool_choice": "auto" if request.may_act else "none"}
        if request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "plan", "schema": request.schema, "strict": False},
            }
        return body

    async def _with_pictures(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            message | {"content": [await self._part(part) for part in message["content"]]}
            if isinstance(message["content"], list)
            else message
            for message in messages
        ]

    async def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] != "image_ref":
            return part
        handle = part["image_ref"]
        data = await self._pictures.get(DATA_KEY.format(handle))
        if data is None:
            raise ImageNotFound(f"No picture {handle}: it expired. Upload it again.", image=handle)
        return {"type": "image_url", "image_url": {"url": await asyncio.to_thread(_data_url, data)}}

    def _refusal(self, status: int, body: str) -> EngineChunk:
        self._log.warning("planner_endpoint_refused", status=status, body=body[:500])
        if status in (400, 413, 422) and any(words in body.casefold() for words in _TOO_LONG):
            return EngineChunk(error="prompt_refused", message="The planner cannot take this conversation: too long.")
        return EngineChunk(error="unavailable", message=f"The planner's endpoint answered with status {status}.")


@dataclass(slots=True)
class _Call:
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Reply:
    """A streamed reply as text of the `json` dialect (`native`), or as the model writes it."""

    native: bool
    may_act: bool
    content: str = ""
    calls: dict[int, _Call] = field(default_factory=dict)
    answering: bool = False
    begun: int = 0
    ended: int = 0
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def take(self, event: Mapping[str, Any]) -> str:
        """The text that a chunk adds."""
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens"))
            self.completion_tokens = _count(usage.get("completion_tokens"))
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""
        choice = choices[0]
        if choice.get("finish_reason"):
            self.finish_reason = "length" if choice["finish_reason"] == "length" else "stop"
        delta = choice.get("delta")
        return self._delta(delta) if isinstance(delta, dict) else ""

    def rest(self) -> str:
        """What is written at the end; a reply that was cut or broke off stays open."""
        if not self.native or self.finish_reason is None:
            return ""
        whole = self.finish_reason == "stop"
        if not self.calls:
            return self._answer() + ('"}' if whole else "")
        return self._calls(over=whole) + (f'],"value":{compact_json(self.content)}}}' if whole else "")

    def _delta(self, delta: Mapping[str, Any]) -> str:
        text = delta.get("content")
        added = text if isinstance(text, str) else ""
        if not self.native:
            return added
        self.content += added
        pieces = delta.get("tool_calls")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict) and self.may_act:
                self._piece(piece)
        if self.may_act:
            return self._calls(over=False)
        return self._answer() if added else ""

    def _piece(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        call = self.calls.setdefault(index if isinstance(index, int) else len(self.calls), _Call())
        function = piece.get("function")
        if isinstance(function, dict):
            call.name += str(function.get("name") or "")
            call.arguments += str(function.get("arguments") or "")

    def _calls(self, *, over: bool) -> str:
        """The calls as far as they go: a name as soon as its arguments begin, arguments when they are whole."""
        text, order = "", sorted(self.calls)
        for place, index in enumerate(order):
            call, whole = self.calls[index], over or place < len(order) - 1
            if place == self.begun and (call.arguments or whole):
                text += '{"thoughts":"","actions":[' if place == 0 else ","
                text += f'{{"API_name":{json.dumps(call.name)},"API_params":'
                self.begun += 1
            if place == self.ended and whole:
                text += _as_object(call.arguments) + "}"
                self.ended += 1
        return text

    def _answer(self) -> str:
        """The text that has come since, as the value of an answer."""
        opening = "" if self.answering else '{"thoughts":"","actions":[],"value":"'
        text, self.content, self.answering = self.content, "", True
        return opening + json.dumps(text, ensure_ascii=False)[1:-1]


def _count(tokens: Any) -> int:
    return tokens if isinstance(tokens, int) and tokens > 0 else 0


def _as_object(arguments: str) -> str:
    """Arguments as they were written; those that are no JSON become a text, which no call takes: nothing is guessed."""
    written = arguments.strip() or "{}"
    try:
        json.loads(written)
    except (ValueError, RecursionError):
        return json.dumps(written)
    return written


async def _events(response: httpx.Response) -> AsyncIterator[Mapping[str, Any]]:
    """Server-sent events up to `[DONE]`; what is not JSON is passed over."""
    async for line in response.aiter_lines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data == "[DONE]":
            return
        if not data or len(data) > _LINE_CHARS_MAX:
            continue
        try:
            event = json.loads(data)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _data_url(data: bytes) -> str:
    media_type = next((name for magic, name in _MEDIA_TYPES if data.startswith(magic)), "image/png")
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
