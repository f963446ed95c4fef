"""One turn of a chat: runs it, keeps its session, and writes it down in OpenAI's format."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from gateway.api.alternatives import alternatives
from gateway.api.answer_pictures import described, inlined
from gateway.api.chat_input import TurnInput
from gateway.api.chat_models import ChatRequest
from gateway.api.model_names import with_adapter
from gateway.api.progress import progress
from gateway.error_handlers import http_error
from gateway.errors import to_http
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import AnswerDelta, TurnEvent, TurnFinished, Usage
from gateway.parts import GatewayParts
from gateway.ports import Answer
from gateway.state.locks import Hold
from services.core.context import CallContext

Events = AsyncGenerator[TurnEvent, None]


class ChatTurn:
    """A turn that is about to run."""

    def __init__(
        self,
        body: ChatRequest,
        given: TurnInput,
        parts: GatewayParts,
        metrics: GatewayMetrics,
        context: CallContext,
        answering: Answer | None = None,
        hold: Hold | None = None,
    ) -> None:
        self._body = body
        self._given = given
        self._parts = parts
        self._metrics = metrics
        self._context = context
        self._answering = answering
        self._hold = hold
        self._others: list[TurnFinished] = []
        self._pictures: dict[str, dict[str, Any]] = {}
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    async def events(self, held: AsyncExitStack) -> Events:
        """What the orchestrator does, measured; session and answer are stored before the last event is passed on.

        Args:
            held: the locks of session and message, which are let go at the end.
        """
        async with held, aclosing(self._measured()) as events:
            async for event in events:
                yield event

    async def _measured(self) -> Events:
        parts, given, context = self._parts, self._given, self._context
        body, sampled = self._body, parts.settings.alternatives_temperature
        more, temperature = (body.n or 1) - 1, sampled if body.temperature is None else body.temperature
        try:
            async with (
                alternatives(given, more, temperature, parts, self._metrics, context) as others,
                aclosing(parts.orchestrator.run(given.request, given.session, context)) as events,
            ):
                async for event in events:
                    self._metrics.turn_event(event)
                    if isinstance(event, TurnFinished):
                        self._others = await others()
                        await self._keep(event)
                    yield event
        except BaseException as error:
            self._metrics.turn_failed(to_http(error).code if isinstance(error, Exception) else "cancelled")
            raise

    async def _keep(self, finished: TurnFinished) -> None:
        produced = [handle for one in (finished, *self._others) for handle in one.produced]
        described_pictures = await described(dict.fromkeys(produced), self._parts, owner=self._context.owner)
        self._pictures = {picture["id"]: picture for picture in described_pictures}
        answer = self._answering.kept(self.completed(finished)) if self._answering is not None else None
        await self._parts.sessions.save(finished.session, hold=self._hold, answer=answer)

    async def completion(self, events: Events) -> dict[str, Any]:
        """The whole turn as one `chat.completion`."""
        finished: TurnFinished | None = None
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TurnFinished):
                    finished = event
        assert finished is not None, "a turn ends with TurnFinished"
        return await self.shown(self.completed(finished))

    async def shown(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, or chunk of it, with its pictures' bytes if they are asked for; they are not stored with it."""
        if not self._body.inline_images:
            return answer
        return answer | {"choices": await inlined(answer["choices"], self._parts, owner=self._context.owner)}

    def completed(self, finished: TurnFinished) -> dict[str, Any]:
        """The `chat.completion` of a turn that has ended so."""
        answers = (finished, *self._others)
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(index, one) for index, one in enumerate(answers)],
            "usage": _usage([one.usage for one in answers]),
            **self._ours(finished),
        }

    def _choice(self, index: int, finished: TurnFinished) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": finished.answer, "refusal": None},
            "logprobs": None,
            "finish_reason": finished.finish_reason,
            "pictures": self._pictures_of(finished),
        }

    def _pictures_of(self, finished: TurnFinished) -> list[dict[str, Any]]:
        return [self._pictures[handle] for handle in finished.produced if handle in self._pictures]

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
                elif self._body.debug and (step := progress(event)) is not None:
                    yield {**chunk({}), "progress": step}
                elif isinstance(event, TurnFinished):
                    if event.answer != sent and event.answer.startswith(sent):
                        yield chunk({"content": event.answer[len(sent) :]})
                    ours = self._ours(event)
                    last = chunk({}, event.finish_reason)
                    last["choices"][0]["pictures"] = self._pictures_of(event)
                    yield await self.shown({**last, **ours})
                    if usage_wanted:
                        yield {**head, "choices": [], "usage": _usage([event.usage]), **ours}

    def error_body(self, error: Exception) -> dict[str, Any]:
        return http_error(error).body(self._context.request_id)

    def _head(self, kind: str) -> dict[str, Any]:
        model = with_adapter(self._parts.planner.model, self._given.request.adapter)
        return {"id": self._id, "object": kind, "created": self._created, "model": model}

    def _ours(self, finished: TurnFinished) -> dict[str, Any]:
        ours: dict[str, Any] = {
            "session_id": finished.session.id,
            "images": list(self._given.request.images),
            "produced_images": finished.produced,
            "cached": _cached(finished),
        }
        if self._body.debug:
            ours["debug"] = {"steps": [step.model_dump(mode="json") for step in finished.steps]}
        return ours


async def answer_chunks(answer: dict[str, Any], body: ChatRequest) -> AsyncGenerator[dict[str, Any], None]:
    """A whole `chat.completion` as the chunks that a client asks for that streams."""
    choice, usage = answer["choices"][0], answer["usage"]
    usage_wanted = body.stream_options is not None and body.stream_options.include_usage
    none: dict[str, Any] = {"usage": None} if usage_wanted else {}
    ours = {name: value for name, value in answer.items() if name not in ("object", "choices", "usage")}
    head = {name: ours[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": choice["message"]["content"]}
    yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], **none}
    last = {"index": 0, "delta": {}, "logprobs": None} | {
        name: choice[name] for name in ("finish_reason", "pictures") if name in choice
    }
    yield {**ours, **head, "choices": [last], **none}
    if usage_wanted:
        yield {**ours, **head, "choices": [], "usage": usage}


def _cached(finished: TurnFinished) -> list[str]:
    """The skills whose results came from the cache, in the order of their calls."""
    records = [record for step in finished.steps for record in step.results]
    return [str(record["skill"]) for record in records if record.get("cached")]


def _usage(usages: Sequence[Usage]) -> dict[str, int]:
    prompt, completion = (sum(getattr(one, name) for one in usages) for name in ("prompt_tokens", "completion_tokens"))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _chained(first: TurnEvent, rest: Events) -> Events:
    yield first
    async for event in rest:
        yield event
