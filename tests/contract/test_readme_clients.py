"""The README's gRPC and MCP examples, run word for word against a gateway with a planner and skills of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.e2e.test_readme import block

ROOT = Path(__file__).parents[2]


def printed(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "written", "there"),
    [("grpc-chat", "127.0.0.1:9000", "grpc"), ("mcp-chat", "http://127.0.0.1:8000", "url")],
)
def test_an_example_asks_about_the_poster(gateway: Any, name: str, written: str, there: str) -> None:
    script = block(name)
    assert script.count(written) == 1
    answer = printed(script.replace(written, getattr(gateway, there)))
    assert answer.startswith("I see 1 picture(s). You asked: What does this poster say?")


async def test_the_configuration_for_assistants_starts_a_server_that_offers_the_tools(gateway: Any) -> None:
    (configured,) = json.loads(block("mcp-config"))["mcpServers"].values()
    assert configured["command"] == ".venv/bin/llava-plus"
    arguments = ["-m", "deploy.cli.main", *configured["args"]]
    server = StdioServerParameters(
        command=sys.executable, args=arguments, cwd=ROOT, env={"LLAVA_PLUS_URL": gateway.url}
    )
    async with Client(server, read_timeout_seconds=60) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools == ["chat", "upload_image", "painter_and_mask", "reader", "upload_file"]
