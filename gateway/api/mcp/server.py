"""The MCP server: its tools and resources, and errors as tool errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server import Server, ServerRequestContext

from gateway.api.mcp import pictures
from gateway.api.mcp.platform_tools import ChatTool, UploadTool
from gateway.api.mcp.skill_tool import SkillTool
from gateway.api.mcp.tool import Caller, McpTool
from gateway.error_handlers import http_error
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts
from gateway.request_headers import request_id, wants_fresh

Context = ServerRequestContext[Any, Any]
INSTRUCTIONS = (
    "Vision tools, and a planner that uses them. Every picture has a handle (img_...): get one with upload_image, or "
    "give a picture as a data: or https URL where a tool takes one. Boxes and points are normalised to 0..1 of width "
    "and height, origin at the top left. Call a tool when you know which; ask `chat` when several must work together."
)


def mcp_server(parts: GatewayParts, metrics: GatewayMetrics, version: str) -> Server[Any]:
    """A server for every skill that `parts` offers.

    Raises:
        ValueError: two tools have one name.
    """
    tools = _tools(parts, metrics)
    definitions = [tool.definition for tool in tools.values()]
    schemas = {name: tool.definition.input_schema for name, tool in tools.items()}

    async def list_tools(_: Context, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=definitions)

    async def run_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"No tool is called {params.name!r}. Tools: {', '.join(tools)}.")
        caller = _caller(context)
        try:
            return await tool.call(params.arguments or {}, caller)
        except Exception as error:  # noqa: BLE001 - the edge of the process: nothing unknown may reach a client
            return _tool_error(error, caller)

    async def list_resources(context: Context, _: Any) -> types.ListResourcesResult:
        with _told(context):
            return types.ListResourcesResult(resources=await pictures.listed(parts))

    async def list_templates(_: Context, __: Any) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=[pictures.TEMPLATE])

    async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        with _told(context):
            return types.ReadResourceResult(contents=[await pictures.contents(params.uri, parts)])

    return Server(
        "llava-plus",
        title="LLaVA-Plus",
        version=version,
        instructions=INSTRUCTIONS,
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_call_tool=run_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _tools(parts: GatewayParts, metrics: GatewayMetrics) -> Mapping[str, McpTool]:
    offered: list[McpTool] = [ChatTool(parts, metrics), UploadTool(parts)]
    offered += [SkillTool(spec, parts, metrics) for spec in parts.skills.specs()]
    tools: dict[str, McpTool] = {}
    for tool in offered:
        if tools.setdefault(tool.definition.name, tool) is not tool:
            raise ValueError(f"Two MCP tools would be called {tool.definition.name!r}: rename the skill.")
    return tools


def _caller(context: Context) -> Caller:
    async def report(done: float, message: str) -> None:
        await context.session.report_progress(done, message=message)

    request = context.request
    if request is None:
        return Caller(request_id(), False, report)
    return Caller(request.state.request_id, wants_fresh(request.headers.get("cache-control", "")), report)


@contextmanager
def _told(context: Context) -> Iterator[None]:
    """Errors outside tools, as the protocol has them, with the words that HTTP clients get."""
    try:
        yield
    except Exception as error:
        found = http_error(error)
        body = found.body(_caller(context).request_id)["error"]
        code = types.INTERNAL_ERROR if found.status >= 500 else types.INVALID_PARAMS
        raise MCPError(code, body["message"], {"code": body["code"], "request_id": body["request_id"]}) from error


def _tool_error(error: Exception, caller: Caller) -> types.CallToolResult:
    found = http_error(error)
    body = found.body(caller.request_id)["error"]
    about = {name: body[name] for name in ("code", "param", "request_id") if body[name] is not None}
    retry_after = (found.headers or {}).get("Retry-After")
    if retry_after is not None:
        about["retry_after_s"] = float(retry_after)
    where = f" (param: {body['param']})" if body["param"] and body["param"] not in body["message"] else ""
    return types.CallToolResult(
        content=[types.TextContent(text=body["message"] + where)],
        is_error=True,
        meta={f"llava-plus/{name}": value for name, value in about.items()},
    )
