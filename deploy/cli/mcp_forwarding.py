"""An MCP server over stdin and stdout that passes every request on to /mcp of the running platform.

The platform may start later than this, and be restarted meanwhile.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp_types.version import LATEST_MODERN_VERSION

from deploy.command import typed
from llava_plus.connection import CONNECT_TIMEOUT_S, DEFAULT_TIMEOUT_S

Context = ServerRequestContext[Any, Any]
ResultT = TypeVar("ResultT", bound=types.Result)
FILE_BYTES_MAX = 32 * 2**20
"""Larger files are not read; the platform's own limit is lower."""
UPLOAD_FILE = types.Tool(
    name="upload_file",
    title="Store a picture from a file",
    description="Store a picture file of this machine and get its handle (img_...), which all tools take as a picture.",
    input_schema={
        "type": "object",
        "properties": {"path": {"type": "string", "description": "The file's path."}},
        "required": ["path"],
        "additionalProperties": False,
    },
    annotations=types.ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
)


class Unreachable(Exception):
    """Nothing answers where the platform should be."""


class Platform:
    """The running platform's /mcp.

    Args:
        options: from `http_options`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.address = str(options["base_url"]).rstrip("/")
        self._options = {name: options[name] for name in ("headers", "trust_env")}

    async def send(self, request: Any, result: type[ResultT], context: Context) -> ResultT:
        """Pass a request on; its progress comes back to who asked.

        Raises:
            MCPError: the platform's own.
            Unreachable.
        """
        params = request.params.model_copy(update={"meta": None}) if request.params is not None else None
        try:
            async with self._session() as session:
                try:
                    return await session.send_request(
                        request.model_copy(update={"params": params}),
                        result,
                        progress_callback=context.session.report_progress,
                    )
                except MCPError as error:
                    # Raised outside: the session's task group would wrap it.
                    failed = error
        except BaseExceptionGroup as group:
            _, others = group.split(httpx2.TransportError)
            if others is not None:
                raise
            raise Unreachable from group
        raise failed

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[ClientSession]:
        timeout = httpx2.Timeout(DEFAULT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        async with httpx2.AsyncClient(timeout=timeout, **self._options) as http:
            transport = streamable_http_client(f"{self.address}/mcp", http_client=http)
            # A version of the protocol that needs no handshake: each request stands alone.
            async with Client(transport, mode=LATEST_MODERN_VERSION, cache=None) as client:
                yield client.session

    @property
    def unreachable(self) -> str:
        return f"Nothing answers at {self.address}: start the platform with `{typed('up')}`, and try again."


async def serve(platform: Platform, folders: Sequence[Path]) -> None:
    server = forwarding_server(platform, folders)
    async with stdio_server() as (requests, answers):
        await server.run(requests, answers, server.create_initialization_options())


def forwarding_server(platform: Platform, folders: Sequence[Path]) -> Server[Any]:
    """A server that asks the platform, and reads picture files below `folders`."""

    async def asked(request: Any, result: type[ResultT], context: Context) -> ResultT:
        try:
            return await platform.send(request, result, context)
        except Unreachable:
            raise MCPError(types.INTERNAL_ERROR, platform.unreachable) from None

    async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        found = await asked(types.ListToolsRequest(params=params), types.ListToolsResult, context)
        return found.model_copy(update={"tools": [*found.tools, UPLOAD_FILE]}) if folders else found

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name == UPLOAD_FILE.name and folders:
            try:
                picture = await anyio.to_thread.run_sync(_data_url, (params.arguments or {}).get("path"), folders)
            except (OSError, ValueError) as error:
                return _tool_error(str(error))
            params = types.CallToolRequestParams(name="upload_image", arguments={"image": picture})
        try:
            return await platform.send(types.CallToolRequest(params=params), types.CallToolResult, context)
        except Unreachable:
            return _tool_error(platform.unreachable)

    async def list_resources(context: Context, params: Any) -> types.ListResourcesResult:
        return await asked(types.ListResourcesRequest(params=params), types.ListResourcesResult, context)

    async def list_templates(context: Context, params: Any) -> types.ListResourceTemplatesResult:
        request = types.ListResourceTemplatesRequest(params=params)
        return await asked(request, types.ListResourceTemplatesResult, context)

    async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await asked(types.ReadResourceRequest(params=params), types.ReadResourceResult, context)

    return Server(
        "llava-plus",
        title="LLaVA-Plus",
        version=version("llava-plus-platform"),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
    )


def _data_url(path: Any, folders: Sequence[Path]) -> str:
    """A picture file as a data: URL.

    Raises:
        ValueError: not a path, outside the folders, or too large; OSError: it cannot be read.
    """
    if not isinstance(path, str) or not path:
        raise ValueError("path: the path of a picture file is needed.")
    allowed = ", ".join(map(str, folders))
    file = (folders[0] / Path(path).expanduser()).resolve()
    if not any(file.is_relative_to(folder) for folder in folders):
        raise ValueError(f"path: only files below {allowed} may be uploaded: copy the picture there.")
    if not file.is_file():
        raise ValueError(f"path: there is no file {file}.")
    if file.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"path: the file is larger than {FILE_BYTES_MAX} bytes.")
    media_type = mimetypes.guess_type(file.name)[0] or ""
    kind = media_type if media_type.startswith("image/") else "image/png"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _tool_error(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)
