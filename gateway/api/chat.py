"""POST /v1/chat/completions: OpenAI's chat format in, one answer out, whole or as server-sent events."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.chat_input import turn_input
from gateway.api.chat_models import ChatCompletion, ChatRequest
from gateway.api.chat_turn import ChatTurn
from gateway.api.event_stream import EventStream
from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import call_context, metrics_of, parts_of
from gateway.responses import FastJson

router = APIRouter(tags=["chat"])


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
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Ask about a picture.

    With `stream` the answer comes as OpenAI's chunks; the last one also carries `session_id`,
    `images`, `produced_images` and, with `debug`, `debug`. What fails before the first piece of the answer has a
    status of its own; what fails later is an event with `error`, without `[DONE]` after it.
    """
    parts = parts_of(request)
    context = call_context(request, parts.settings.turn_deadline_s)
    given = await turn_input(body, parts, context.owner)
    turn = ChatTurn(body, given, parts, metrics_of(request), context)
    headers = {"X-Session-Id": given.session.id}
    async with cancelled_when_client_leaves(request.receive):
        if not body.stream:
            return FastJson(await turn.completion(), headers=headers)
        events = turn.events()
        first = await anext(events)
    return EventStream(turn.chunks(first, events), turn.error_body, headers)
