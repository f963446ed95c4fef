"""POST /v1/chat/completions: OpenAI's chat format in, one answer out, whole or as server-sent events."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from gateway.api.chat_input import turn_input
from gateway.api.chat_models import ChatCompletion, ChatRequest
from gateway.api.chat_turn import ChatTurn, answer_chunks
from gateway.api.event_stream import EventStream
from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import call_context, metrics_of, parts_of
from gateway.responses import FastJson

router = APIRouter(tags=["chat"])
REPLAYED = "Idempotent-Replayed"
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

    With `stream` the answer comes as OpenAI's chunks; the last one also carries `session_id`,
    `images`, `produced_images` and, with `debug`, `debug`. What fails before the first piece of the answer has a
    status of its own; what fails later is an event with `error`, without `[DONE]` after it.

    Messages of one session are answered one after the other; one that has waited too long gets a 409.
    """
    parts = parts_of(request)
    context = call_context(request, parts.settings.turn_deadline_s)
    async with cancelled_when_client_leaves(request.receive), AsyncExitStack() as held:
        answering = None
        if idempotency_key is not None:
            message = body.model_dump_json().encode()
            answering = await held.enter_async_context(
                parts.answers.answering(idempotency_key, message, owner=context.owner)
            )
            if answering.known is not None:
                return _known(answering.known, body)
        hold = await held.enter_async_context(parts.sessions.locked(body.session_id)) if body.session_id else None
        # What was waited for the session's other messages is not taken from this one's time.
        context = call_context(request, parts.settings.turn_deadline_s)
        given = await turn_input(body, parts, context.owner)
        turn = ChatTurn(body, given, parts, metrics_of(request), context, answering, hold)
        headers = {"X-Session-Id": given.session.id}
        events = turn.events(held.pop_all())
        if not body.stream:
            return FastJson(await turn.completion(events), headers=headers)
        first = await anext(events)
    return EventStream(turn.chunks(first, events), turn.error_body, headers)


def _known(answer: dict[str, object], body: ChatRequest) -> Response:
    """An answer that was given before."""
    headers = {"X-Session-Id": str(answer["session_id"]), REPLAYED: "true"}
    if not body.stream:
        return FastJson(answer, headers=headers)
    return EventStream(answer_chunks(answer, body), lambda _: {}, headers)
