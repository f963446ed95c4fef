"""A skill as a tool: pictures and arguments side by side, a typed result, and the pictures that it made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from pydantic import BaseModel, Field, create_model
from pydantic_core import from_json

from gateway.api.checked import checked
from gateway.api.mcp.pictures import handle_of, shown
from gateway.api.mcp.tool import Caller, object_schema
from gateway.api.tool_calls import ToolAnswer, call_tool
from gateway.api.tool_models import identifier, request_model
from gateway.api.tool_render import stored_overlay
from gateway.errors import InvalidRequest
from gateway.metrics import GatewayMetrics
from gateway.overlay import DRAWN_FIELDS
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.responses import json_bytes
from services.core.spec import SkillSpec, Symbol

OVERLAY = {
    "overlay": {
        "type": "boolean",
        "default": False,
        "description": "Also draw the boxes, masks or map of the result over the picture, and send that.",
    }
}
"""An option of tools whose results can be drawn."""


class SkillOutput(BaseModel):
    """A skill's answer; `result` has the skill's own type."""

    images: dict[str, str] = Field(description="Handles of what it worked on, by kind: name them in further calls.")


class SkillTool:
    """One skill."""

    def __init__(self, spec: SkillSpec, parts: GatewayParts, metrics: GatewayMetrics) -> None:
        self._spec = spec
        self._parts = parts
        self._metrics = metrics
        self._model = request_model(spec)
        self._drawn = Symbol.IMAGE in spec.consumes and not DRAWN_FIELDS.isdisjoint(spec.result_model.model_fields)
        output = create_model("Output", __base__=SkillOutput, result=(spec.result_model, Field()))
        self.definition = types.Tool(
            name=identifier(spec.name),
            title=spec.name,
            description=spec.description,
            input_schema=_side_by_side(object_schema(self._model), OVERLAY if self._drawn else {}),
            output_schema=object_schema(output, "serialization"),
            annotations=types.ToolAnnotations(
                read_only_hint=not spec.produces, destructive_hint=False, open_world_hint=False
            ),
        )

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> types.CallToolResult:
        kinds, options = {str(kind) for kind in self._spec.consumes}, OVERLAY if self._drawn else {}
        given: dict[str, Any] = {name: handle_of(value) for name, value in arguments.items() if name in kinds}
        rest = {name: value for name, value in arguments.items() if name not in kinds and name not in options}
        overlay = arguments.get("overlay", False) if self._drawn else False
        if not isinstance(overlay, bool):
            raise InvalidRequest("overlay: true or false is wanted.", param="overlay")
        body = self._checked(given | ({"arguments": rest} if rest else {}))
        answer = await call_tool(
            self._spec,
            {kind: getattr(body, kind) for kind in self._spec.consumes},
            body.arguments.model_dump(mode="json", exclude_unset=True),
            self._parts,
            self._metrics,
            caller.context(self._parts.settings.tool_deadline_s),
        )
        return await self._told(answer, overlay=overlay)

    async def _told(self, answer: ToolAnswer, *, overlay: bool) -> types.CallToolResult:
        found, pictures = answer.body(), list(answer.outcome.pictures.values())
        output = json_bytes({"result": found["result"], "images": found["images"]})
        about = {name: found[name] for name in ("checkpoint", "cached", "timing", "request_id")}
        if overlay and (drawn := await stored_overlay(answer, self._parts, owner=ANONYMOUS)) is not None:
            pictures.append(drawn["id"])
        return types.CallToolResult(
            content=[types.TextContent(text=output.decode()), *await shown(pictures, self._parts)],
            structured_content=from_json(output),
            meta={f"llava-plus/{name}": value for name, value in about.items()},
        )

    def _checked(self, given: Mapping[str, Any]) -> Any:
        try:
            return checked(self._model, given)
        except InvalidRequest as error:
            # Arguments stand side by side with the pictures here.
            param = (error.param or "").removeprefix("arguments").removeprefix(".") or None
            message = error.message.replace("arguments.", "", 1) if param else error.message
            raise InvalidRequest(message, param=param) from error


def _side_by_side(schema: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a tool's request with the arguments moved up, beside the pictures, and options after them."""
    properties, definitions = dict(schema["properties"]), dict(schema.get("$defs", {}))
    reference = properties.pop("arguments")["$ref"]
    arguments = definitions.pop(reference.rpartition("/")[2])
    required = [name for name in schema.get("required", ()) if name != "arguments"]
    return {
        "type": "object",
        "properties": properties | arguments.get("properties", {}) | options,
        "required": [*required, *arguments.get("required", ())],
        "additionalProperties": False,
        **({"$defs": definitions} if definitions else {}),
    }
