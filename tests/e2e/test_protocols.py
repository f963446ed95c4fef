"""gRPC and MCP against the whole running platform: its real skills and its real planner."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import mcp_types as types
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mcp import Client, StdioServerParameters

from deploy.settings import GRPC_PORT_OFFSET
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformStub
from tests.e2e.conftest import ROOT, Stack

EXAMPLES = ROOT / "docs" / "examples"


@pytest.mark.stack
def test_a_poster_is_read_and_animals_are_found_over_grpc(stack: Stack) -> None:
    port = urlsplit(stack.address).port
    assert port is not None
    with grpc.insecure_channel(f"127.0.0.1:{port + GRPC_PORT_OFFSET}") as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        platform = PlatformStub(channel)
        poster = pb.NamedPicture(picture=pb.Picture(data=(EXAMPLES / "poster.png").read_bytes()))
        events = list(platform.Chat(pb.ChatRequest(text="What does this poster say?", pictures=[poster]), timeout=240))
        assert "Summer Book Fair" in "".join(event.delta.text for event in events)
        meadow = pb.Picture(data=(EXAMPLES / "meadow.webp").read_bytes())
        request = pb.CallToolRequest(name="grounding_dino", images={"image": meadow})
        request.arguments.update({"caption": "pig . koala . fish"})
        assert sorted(platform.CallTool(request, timeout=120).result["phrases"]) == ["koala", "pig"]


@pytest.mark.stack
async def test_an_assistant_uses_the_running_platform_over_stdio(stack: Stack) -> None:
    arguments = ["-m", "deploy.cli.main", "mcp", "--pictures", str(EXAMPLES)]
    server = StdioServerParameters(command=sys.executable, args=arguments, cwd=Path(ROOT), env=stack.environment)
    async with Client(server, read_timeout_seconds=240) as client:
        meadow = (await client.call_tool("upload_file", {"path": "meadow.webp"})).structured_content
        found = await client.call_tool(
            "grounding_dino_and_sam", {"image": meadow["id"], "caption": "pig . koala . fish"}
        )
        poster = (await client.call_tool("upload_file", {"path": "poster.png"})).structured_content
        asked = await client.call_tool("chat", {"text": "What does this poster say?", "images": [poster["uri"]]})
        (content,) = (await client.read_resource(poster["uri"])).contents
    assert sorted(found.structured_content["result"]["phrases"]) == ["koala", "pig"]
    assert len(found.structured_content["result"]["masks_rle"]) == 2
    assert "Summer Book Fair" in asked.structured_content["answer"]
    assert isinstance(content, types.BlobResourceContents)
    assert base64.b64decode(content.blob) == (EXAMPLES / "poster.png").read_bytes()
