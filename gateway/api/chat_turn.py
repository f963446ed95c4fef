"""One turn of a chat: runs it, keeps its session, and writes it down in OpenAI's format."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from gateway.api.chat_input import TurnInput
from gateway.api.chat_models import ChatRequest
from gateway.error_handlers import http_error
from gateway.errors import to_http
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished, Usage
from gateway.parts import GatewayParts
from services.core.context import CallContext

Events = AsyncGenerator[TurnEvent, None]


class ChatTurn:
    """A turn that is about to run."""

    def __init__(
        self, body: ChatRequest, given: TurnInput, parts: GatewayParts, metrics: GatewayMetrics, context: CallContext
    ) -> None:
        self._body = body
        self._given = given
        self._parts = parts
        self._metrics = metrics
        self._context = context
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    async def events(self) -> Events:
        """What the orchestrator does, measured; the session is stored before the last event is passed on."""
        run = self._parts.orchestrator.run(self._given.request, self._given.session, self._context)
        try:
            async with aclosing(run) as events:
                async for event in events:
                    self._metrics.turn_event(event)
                    if isinstance(event, TurnFinished):
                        await self._parts.sessions.save(event.session)
                    yield event
        except BaseException as error:
            self._metrics.turn_failed(to_http(error).code if isinstance(error, Exception) else "cancelled")
            raise

    async def completion(self) -> dict[str, Any]:
        """The whole turn as one `chat.completion`."""
        finished: TurnFinished | None = None
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, TurnFinished):
                    finished = event
        assert finished is not None, "a turn ends with TurnFinished"
        message = {"role": "assistant", "content": finished.answer, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finished.finish_reason}
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": _usage(finished.usage),
            **self._ours(finished),
        }

    async def chunks(self, first: TurnEvent, rest: Events) -> AsyncGenerator[dict[str, Any], None]:
        """The turn as `chat.completion.chunk`s: role, text as it comes, finish reason, usage if asked for."""
        usage_wanted = self._body.stream_options is not None and self._body.stream_options.include_usage
        no_usage: dict[str, Any] = {"usage": None} if usage_wanted else {}
        head = self._head("chat.completion.chunk")

        def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return {**head, "choices": [choice], **no_usage}

        sent = ""
        async with aclosing(rest):
            yield chunk({"role": "assistant", "content": ""})
            async for event in _chained(first, rest):
                if isinstance(event, AnswerDelta):
                    sent += event.text
                    yield chunk({"content": event.text})
                elif isinstance(event, TurnFinished):
                    if event.answer != sent and event.answer.startswith(sent):
                        yield chunk({"content": event.answer[len(sent) :]})
                    ours = self._ours(event)
                    yield {**chunk({}, event.finish_reason), **ours}
                    if usage_wanted:
                        yield {**head, "choices": [], "usage": _usage(event.usage), **ours}

    def error_body(self, error: Exception) -> dict[str, Any]:
        return http_error(error).body(self._context.request_id)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._parts.planner.model}

    def _ours(self, finished: TurnFinished) -> dict[str, Any]:
        ours: dict[str, Any] = {
            "session_id": finished.session.id,
            "images": list(self._given.request.images),
            "produced_images": finished.produced,
        }
        if self._body.debug:
            ours["debug"] = {"steps": [step.model_dump(mode="json") for step in finished.steps]}
        return ours


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


async def _chained(first: TurnEvent, rest: Events) -> Events:
    yield first
    async for event in rest:
        yield event
