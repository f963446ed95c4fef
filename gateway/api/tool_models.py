"""What single tools take and answer over HTTP, as models made from their SkillSpecs."""

from __future__ import annotations

import re
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, field_validator
from pydantic_core import PydanticSerializationError

from gateway.api.answer_pictures import AnswerPicture
from gateway.planner_tools import PlannerUse
from gateway.responses import ErrorDetail
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE, SkillArgs

PictureReference = Field(description="A picture, mask or map: handle (`img_...`), data: URL (base64) or https URL.")
MaskReference = Field(
    description="A mask: handle, data: or https URL of a picture that is white inside, or a COCO run-length code."
)
MASKS = frozenset({Symbol.MASK, Symbol.REFERENCE_MASK})
MaskInput = Annotated[
    Annotated[str, Tag("picture")] | Annotated[MaskRLE, Tag("rle")],
    Discriminator(lambda value: "picture" if isinstance(value, str) else "rle"),
]


class ToolRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    if TYPE_CHECKING:
        arguments: SkillArgs
        """Those of the tool, as its own request model has them."""

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
    render: AnswerPicture | None = Field(
        None, description="With `?render=overlay`: the picture with what was found; null where nothing can be drawn."
    )


class ToolBatchItem(BaseModel):
    """What one of several inputs gave: `response`, or the `error` that it would have got alone, with its status."""

    index: int
    status: int
    error: ErrorDetail | None


class ToolBatchResponse(BaseModel):
    """The answers in the order of the inputs."""

    object: str = Field("list", description="Always `list`.")
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
    planner: PlannerUse = Field(
        description="How the planner knows it: `learned` (trained to use it), `described` (told of it in its prompt), "
        "`none` (only calls of one's own reach it)."
    )


class ToolList(BaseModel):
    object: str = Field("list", description="Always `list`.")
    data: list[ToolDescription]


def request_model(spec: SkillSpec) -> type[ToolRequest]:
    """What a call of the tool is given: a field for each kind of picture that it consumes, and `arguments`."""
    fields: dict[str, Any] = {
        str(symbol): (MaskInput, MaskReference) if symbol in MASKS else (str, PictureReference)
        for symbol in sorted(spec.consumes)
    }
    optional = _all_optional(spec)
    fields["arguments"] = (spec.args_model, Field(default_factory=spec.args_model) if optional else Field())
    return create_model(f"{_camel(spec.name)}Request", __base__=ToolRequest, **fields)


def response_model(spec: SkillSpec) -> type[ToolResponse]:
    """What the tool answers."""
    return create_model(f"{_camel(spec.name)}Response", __base__=ToolResponse, result=(spec.result_model, Field()))


def batch_request_model(spec: SkillSpec, one: type[ToolRequest]) -> type[BaseModel]:
    """Several inputs, each as `request_model` made it."""
    inputs: Any = (GenericAlias(list, one), Field(min_length=1, description="At most as many as a setting says."))
    return create_model(f"{_camel(spec.name)}BatchRequest", __config__=ConfigDict(extra="forbid"), inputs=inputs)


def batch_response_model(spec: SkillSpec, one: type[ToolResponse]) -> type[ToolBatchResponse]:
    """Several answers, each as `response_model` made it, or an error."""
    name = f"{_camel(spec.name)}Batch"
    response: Any = (one | None, Field())
    item = create_model(f"{name}Item", __base__=ToolBatchItem, response=response)
    data: Any = (GenericAlias(list, item), Field())
    return create_model(f"{name}Response", __base__=ToolBatchResponse, data=data)


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
