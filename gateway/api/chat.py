"""POST /v1/chat/completions: OpenAI's chat format in, one answer out, whole or as server-sent events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from gateway.api.answer_pictures import inlined
from gateway.api.chat_models import ChatCompletion, ChatRequest
from gateway.api.chat_service import KnownAnswer, open_turn
from gateway.api.chat_turn import answer_chunks
from gateway.api.event_stream import EventStream
from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import ANONYMOUS, GatewayParts, call_context, metrics_of, parts_of
from gateway.responses import FastJson

router = APIRouter(tags=["chat"])
IDEMPOTENT_REPLAYED = "Idempotent-Replayed"
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="A message that is sent again with its key is answered with the first answer, and run once.",
    ),
]


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses={
        200: {
            "model": ChatCompletion,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "headers": {"X-Session-Id": {"schema": {"type": "string"}, "description": "The conversation's id."}},
        }
    },
)
async def chat_completions(body: ChatRequest, request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Ask about a picture.

    With `stream` the answer comes as OpenAI's chunks; the last one also carries `session_id`, `images`,
    `produced_images` and, with `debug`, `debug`, and its choice has `pictures`. With `debug`, chunks with `progress`
    say while tools run which start and end. What fails before the first piece of the answer has a status of its own;
    what fails later is an event with `error`, without `[DONE]` after it.

    With `n` the first answer is the session's, and the steps are its; the others are sampled beside it and leave no
    trace but the pictures that they made. All of them come, or an error. `n` cannot be streamed.

    Messages of one session are answered one after the other; one that has waited too long gets a 409.
    """
    parts = parts_of(request)
    deadline_s = parts.settings.turn_deadline_s
    async with cancelled_when_client_leaves(request.receive):
        opened = await open_turn(
            body, parts, metrics_of(request), lambda: call_context(request, deadline_s), idempotency_key
        )
        if isinstance(opened, KnownAnswer):
            return await _known(opened, body, parts)
        headers = {"X-Session-Id": opened.session_id}
        if not body.stream:
            return FastJson(await opened.turn.completion(opened.events), headers=headers)
        first = await anext(opened.events)
    return EventStream(opened.turn.chunks(first, opened.events), opened.turn.error_body, headers)


async def _known(answer: KnownAnswer, body: ChatRequest, parts: GatewayParts) -> Response:
    """An answer that was given before."""
    headers = {"X-Session-Id": answer.session_id, IDEMPOTENT_REPLAYED: "true"}
    completion = answer.completion
    if body.inline_images:
        completion = completion | {"choices": await inlined(completion["choices"], parts, owner=ANONYMOUS)}
    if not body.stream:
        return FastJson(completion, headers=headers)
    return EventStream(answer_chunks(completion, body), lambda _: {}, headers)
