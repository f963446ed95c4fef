"""The gateway's chat on the real vLLM with a tiny model: a request's `model` says which adapter answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("vllm")
pytest.importorskip("torch")

import pytest_asyncio
from redis.asyncio import Redis

from gateway.app import create_app
from gateway.settings import GatewaySettings
from gateway.wiring import parts_around
from planner.adapters import AdapterRegistry
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from tests import tiny_llava
from tests.gateway_fakes import FakeSkills
from tests.integration.test_planner_engine import write_adapter

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class HereEngine:
    """Implements `planner.client.Engine` with the deployment's class in this process."""

    server: Any
    said: list[str] = field(default_factory=list)

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        text = ""
        async for wire in self.server.generate(request.to_wire()):
            chunk = EngineChunk.from_wire(wire)
            text += chunk.text
            if chunk.final:  # after which nobody reads on
                self.said.append(text)
            yield chunk

    async def ready(self) -> bool:
        return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> AsyncIterator[tuple[HereEngine, Path]]:
    folder = tmp_path_factory.mktemp("planner")
    with tiny_llava.served(folder, redis_url) as server:
        yield HereEngine(server), folder


async def test_a_chat_is_answered_by_the_adapter_that_its_model_names(
    served: tuple[HereEngine, Path], redis_url: str
) -> None:
    engine, folder = served
    redis = Redis.from_url(redis_url)
    registry = AdapterRegistry(redis)

    async def names() -> Sequence[str]:
        return [adapter.name for adapter in await registry.all()]

    planner = PlannerClient(engine, dialect("json"), "llava-plus", frozenset(), registry)
    parts = replace(parts_around(GatewaySettings(redis_url=redis_url), lambda _: FakeSkills(), planner), adapters=names)
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=120) as client:

        async def chat(model: str) -> httpx.Response:
            body = {"model": model, "messages": [{"role": "user", "content": "Which hue is it?"}], "max_tokens": 24}
            return await client.post("/v1/chat/completions", json=body)

        for number, name in enumerate(("hue", "shape")):
            adapter = write_adapter(folder / name, folder / "model", number)
            answer = await engine.server.adapters({"do": "add", "name": name, "folder": str(adapter)})
            assert "refused" not in answer
        listed = (await client.get("/v1/models")).json()["data"]
        models = [model["id"] for model in listed]
        assert models == ["llava-plus", "llava-plus:hue", "llava-plus:shape"]
        assert [(await client.get(f"/v1/models/{model}")).json() for model in models] == listed
        for model in models:
            answered = await chat(model)
            assert (answered.status_code, answered.json()["model"]) == (200, model), answered.text
        assert len(set(engine.said)) == 3  # each with other weights

        await engine.server.adapters({"do": "remove", "name": "hue"})
        gone = await chat("llava-plus:hue")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")
        assert (await chat("llava-plus:shape")).status_code == 200
        assert engine.said[-1] == engine.said[2]
    await parts.close()
    await redis.flushdb()  # the next module's planner has other adapters
    await redis.aclose()
