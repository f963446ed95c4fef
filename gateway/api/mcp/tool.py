"""What a tool is to this server, and what a call of it knows about who asks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import mcp_types as types
from pydantic import BaseModel

from gateway.parts import ANONYMOUS
from services.core.context import CallContext


@dataclass(frozen=True, slots=True)
class Caller:
    """One request.

    Attributes:
        report: tells how far the call is, to clients that want to know: steps done, and what is done now.
    """

    request_id: str
    fresh: bool
    report: Callable[[float, str], Awaitable[None]]

    def context(self, limit_s: float) -> CallContext:
        """The context of what the call asks for, counted from now."""
        return CallContext(self.request_id, ANONYMOUS, time.time() + limit_s, self.fresh)


class McpTool(Protocol):
    """One tool."""

    definition: types.Tool

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> types.CallToolResult:
        """Run it. What it raises becomes a tool error with the message that HTTP clients get."""
        ...


def object_schema(
    model: type[BaseModel], mode: Literal["validation", "serialization"] = "validation"
) -> dict[str, Any]:
    """The model's JSON schema, as input or (serialization) as output; what describes the Python class is left out."""
    schema = model.model_json_schema(mode=mode)
    schema.pop("title", None)
    schema.pop("description", None)
    return schema
