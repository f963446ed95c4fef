"""Single tools: one typed route for each skill, made from its SkillSpec."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, field_validator
from pydantic_core import PydanticSerializationError

from gateway.api.tool_calls import call_tool
from gateway.disconnect import cancelled_when_client_leaves
from gateway.parts import call_context, metrics_of, parts_of
from gateway.responses import FastJson
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE

PictureReference = Field(description="Handle (`img_...`) or data: URL (base64) of a stored picture, mask or map.")
MaskReference = Field(
    description="A mask: handle or data: URL of a picture that is white inside, or a COCO run-length code."
)
MASKS = frozenset({Symbol.MASK, Symbol.REFERENCE_MASK})
MaskInput = Annotated[
    Annotated[str, Tag("picture")] | Annotated[MaskRLE, Tag("rle")],
    Discriminator(lambda value: "picture" if isinstance(value, str) else "rle"),
]


class ToolRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @field_validator("arguments", check_fields=False)
    @classmethod
    def _utf8(cls, arguments: BaseModel) -> BaseModel:
        try:
            arguments.model_dump_json()
        except (PydanticSerializationError, UnicodeError):
            raise ValueError("a text has half a surrogate pair, which is not valid Unicode") from None
        return arguments


class Timing(BaseModel):
    """Milliseconds: in the model, queued before it, and in all; and how many calls shared the batch."""

    compute_ms: float
    wait_ms: float
    total_ms: float
    batch_size: int


class ToolResponse(BaseModel):
    """A tool's answer. `images` are the handles that it worked on, by what they were for.

    `cached` says that it is the result of an earlier, equal call; `Cache-Control: no-cache` asks for a fresh one.
    """

    tool: str
    images: dict[str, str]
    checkpoint: str
    cached: bool
    timing: Timing
    request_id: str


class ToolDescription(BaseModel):
    """A tool as data; `arguments` and `result` are JSON schemas, `produces` is by result field."""

    name: str
    aliases: list[str]
    summary: str
    description: str
    consumes: list[str]
    produces: dict[str, str]
    parts: list[str]
    version: str
    arguments: dict[str, Any]
    result: dict[str, Any]


class ToolList(BaseModel):
    object: str = Field("list", description="Always `list`.")
    data: list[ToolDescription]


def router(specs: Sequence[SkillSpec]) -> APIRouter:
    """Routes of the given skills. Aliases work too but are not listed in OpenAPI."""
    tools = APIRouter(tags=["tools"])
    tools.add_api_route("/v1/tools", _list_tools, methods=["GET"], response_model=ToolList)
    for spec in specs:
        endpoint = _endpoint(spec)
        for name in spec.names:
            tools.add_api_route(
                f"/v1/tools/{name}",
                endpoint,
                methods=["POST"],
                response_model=_response_model(spec),
                operation_id=f"call_{identifier(spec.name)}" if name == spec.name else None,
                name=spec.name,
                summary=spec.summary,
                description=spec.description,
                include_in_schema=name == spec.name,
            )
    tools.add_api_route("/v1/tools/{name}", _unknown_tool, methods=["POST"], include_in_schema=False)
    return tools


async def _list_tools(request: Request) -> Response:
    """The tools that this deployment offers."""
    return FastJson({"object": "list", "data": [spec.describe() for spec in parts_of(request).skills.specs()]})


async def _unknown_tool(name: str, request: Request) -> Response:
    parts_of(request).skills.resolve(name)
    raise AssertionError(f"the offered tool {name!r} has no route")


def _endpoint(spec: SkillSpec) -> Callable[..., Awaitable[Response]]:
    async def call_tool(body: Any, request: Request) -> Response:
        return await _call(spec, body, request)

    call_tool.__annotations__ = {"body": request_model(spec), "request": Request, "return": Response}
    return call_tool


async def _call(spec: SkillSpec, body: Any, request: Request) -> Response:
    parts = parts_of(request)
    context = call_context(request, parts.settings.tool_deadline_s)
    given = {symbol: getattr(body, symbol) for symbol in spec.consumes}
    args = body.arguments.model_dump(mode="json", exclude_unset=True)
    async with cancelled_when_client_leaves(request.receive):
        answer = await call_tool(spec, given, args, parts, metrics_of(request), context)
    return FastJson(answer.body())


def request_model(spec: SkillSpec) -> type[ToolRequest]:
    """What a call of the tool is given: a field for each kind of picture that it consumes, and `arguments`."""
    fields: dict[str, Any] = {
        str(symbol): (MaskInput, MaskReference) if symbol in MASKS else (str, PictureReference)
        for symbol in sorted(spec.consumes)
    }
    optional = _all_optional(spec)
    fields["arguments"] = (spec.args_model, Field(default_factory=spec.args_model) if optional else Field())
    return create_model(f"{_camel(spec.name)}Request", __base__=ToolRequest, **fields)


def _response_model(spec: SkillSpec) -> type[ToolResponse]:
    return create_model(f"{_camel(spec.name)}Response", __base__=ToolResponse, result=(spec.result_model, Field()))


def _all_optional(spec: SkillSpec) -> bool:
    try:
        spec.args_model()
    except ValidationError:
        return False
    return True


def identifier(name: str) -> str:
    """A skill's name where only letters, digits and underscores are allowed."""
    return re.sub(r"\W+", "_", name.replace("+", "_and_"), flags=re.ASCII)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in identifier(name).split("_"))
