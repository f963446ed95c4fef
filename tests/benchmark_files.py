"""Small files of published benchmarks' formats, and a judge on a local port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from planner.eval.benchmarks.endpoint import Endpoint
from tests.judge_server import JudgeServer, Says
from tests.openai_server import serving


@asynccontextmanager
async def judge(says: Says, cache: Path) -> AsyncIterator[tuple[Endpoint, JudgeServer]]:
    server = JudgeServer(says)
    async with serving(server):
        endpoint = Endpoint(server.url, "judge-1", cache, retry_s=0.001)
        try:
            yield endpoint, server
        finally:
            await endpoint.close()


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def picture(folder: Path, name: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / name)


def answers(folder: Path, texts: dict[str, str]) -> Path:
    path = folder / "given.json"
    path.write_text(json.dumps(texts))
    return path
