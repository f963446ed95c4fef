"""Single tools: typed routes for each skill, made from its SkillSpec."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.api.tool_batch import batch_answer
from gateway.api.tool_calls import ToolAnswer, call_tool
from gateway.api.tool_models import (
    ToolList,
    ToolRequest,
    batch_request_model,
    batch_response_model,
    identifier,
    request_model,
    response_model,
)
from gateway.api.tool_render import overlay_of, stored_overlay
from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import GatewayParts, call_context, metrics_of, parts_of
from gateway.responses import FastJson
from services.core.context import CallContext
from services.core.spec import SkillSpec

__all__ = ["identifier", "request_model", "router"]

Render = Annotated[
    Literal["overlay"] | None,
    Query(description="overlay: draw the boxes, masks or map of the result over the picture."),
]
PNG = "image/png"
Endpoint = Callable[..., Awaitable[Response]]


def router(specs: Sequence[SkillSpec]) -> APIRouter:
    """Routes of the given skills. Aliases work too but are not listed in OpenAPI."""
    tools = APIRouter(tags=["tools"])
    tools.add_api_route("/v1/tools", _list_tools, methods=["GET"], response_model=ToolList, operation_id="list_tools")
    for spec in specs:
        one, answer = request_model(spec), response_model(spec)
        several, answers = batch_request_model(spec, one), batch_response_model(spec, answer)
        call, batch = _endpoint(spec, one), _batch_endpoint(spec, several)
        for name in spec.names:
            listed = name == spec.name
            tools.add_api_route(
                f"/v1/tools/{name}",
                call,
                methods=["POST"],
                response_model=answer,
                responses={200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}},
                operation_id=f"call_{identifier(spec.name)}" if listed else None,
                name=spec.name,
                summary=spec.summary,
                description=f"{spec.description}\n\nWith `?render=overlay` and `Accept: image/png` the answer is the "
                "picture itself.",
                include_in_schema=listed,
            )
            tools.add_api_route(
                f"/v1/tools/{name}/batch",
                batch,
                methods=["POST"],
                response_model=answers,
                operation_id=f"call_{identifier(spec.name)}_batch" if listed else None,
                name=f"{spec.name} (batch)",
                summary=f"Several inputs at once: {spec.summary}",
                description="The calls run at the same time, so that they share the model's batches. An input that "
                "fails has its own error; the answer's status is 200 all the same. If one is malformed, none is run.",
                include_in_schema=listed,
            )
    for path in ("/v1/tools/{name}", "/v1/tools/{name}/batch"):
        tools.add_api_route(path, _unknown_tool, methods=["POST"], include_in_schema=False)
    return tools


async def _list_tools(request: Request) -> Response:
    """The tools that this deployment offers."""
    parts = parts_of(request)
    return FastJson({"object": "list", "data": [parts.planner_tools.describe(spec) for spec in parts.skills.specs()]})


async def _unknown_tool(name: str, request: Request) -> Response:
    parts_of(request).skills.resolve(name)
    raise AssertionError(f"the offered tool {name!r} has no route")


def _endpoint(spec: SkillSpec, model: type[ToolRequest]) -> Endpoint:
    async def call(body: Any, request: Request, render: Render = None) -> Response:
        parts = parts_of(request)
        context = call_context(request, parts.settings.tool_deadline_s)
        async with cancelled_when_client_leaves(request.receive):
            answer = await _called(spec, body, request, context)
            if render is None:
                return FastJson(answer.body())
            if PNG in request.headers.get("accept", ""):
                return Response(await overlay_of(answer, parts, owner=context.owner), media_type=PNG)
            return FastJson(await _with_overlay(answer, parts, context))

    call.__annotations__ |= {"body": model, "request": Request, "return": Response, "render": Render}
    return call


def _batch_endpoint(spec: SkillSpec, model: type[Any]) -> Endpoint:
    async def call(body: Any, request: Request, render: Render = None) -> Response:
        parts = parts_of(request)

        async def one(given: ToolRequest) -> dict[str, Any]:
            context = call_context(request, parts.settings.tool_deadline_s)
            answer = await _called(spec, given, request, context)
            return answer.body() if render is None else await _with_overlay(answer, parts, context)

        async with cancelled_when_client_leaves(request.receive):
            return FastJson(await batch_answer(body.inputs, one, parts.settings, request.state.request_id))

    call.__annotations__ |= {"body": model, "request": Request, "return": Response, "render": Render}
    return call


async def _called(spec: SkillSpec, body: Any, request: Request, context: CallContext) -> ToolAnswer:
    given = {symbol: getattr(body, symbol) for symbol in spec.consumes}
    args = body.arguments.model_dump(mode="json", exclude_unset=True)
    return await call_tool(spec, given, args, parts_of(request), metrics_of(request), context)


async def _with_overlay(answer: ToolAnswer, parts: GatewayParts, context: CallContext) -> dict[str, Any]:
    return answer.body() | {"render": await stored_overlay(answer, parts, owner=context.owner)}
