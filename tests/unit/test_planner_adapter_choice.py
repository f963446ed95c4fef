"""Which adapter answers: the one that a request's model names, else the one in use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from gateway_fakes import FakeImages, FakePlanner, FakeSkills, fake_parts

from gateway.api.model_names import adapter_named, with_adapter
from gateway.app import create_app
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.settings import GatewaySettings
from planner.adapters import Adapter, AdapterRefused
from planner.api import AdapterNotFound, PlannerDone, PlanRequest
from planner.client import PlannerClient
from planner.conversation import UserTurn
from planner.dialects import dialect
from planner.wire import EngineChunk
from services.core.context import CallContext
from tests.skill_examples import Echo
from tests.unit.test_planner_client import ANSWER, ScriptedEngine


class Known:
    """Implements `planner.client.AdapterSource`."""

    def __init__(self, *adapters: Adapter, in_use: str | None = None) -> None:
        self._adapters = {adapter.name: adapter for adapter in adapters}
        self._in_use = in_use

    async def get(self, name: str | None) -> Adapter | None:
        wanted = name or self._in_use
        if wanted is not None and wanted not in self._adapters:
            raise AdapterRefused(f"The planner has no adapter {wanted!r}. Known: {', '.join(self._adapters)}.")
        return self._adapters[wanted] if wanted else None


BIRDS = Adapter(name="birds", number=1, folder="/adapters/birds", rank=8, skills=("echo",))
PLAIN = Adapter(name="plain", number=2, folder="/adapters/plain", rank=8)


async def asked(adapter: str | None, known: Known | None) -> tuple[str | None, bool]:
    """The adapter that the engine is asked for, and whether the prompt offers the skill `echo`."""
    engine = ScriptedEngine(ANSWER)
    client = PlannerClient(engine, dialect("json"), "llava-plus", frozenset(), known)
    request = PlanRequest((UserTurn(text="Hello"),), [Echo.spec()], max_tokens=50, adapter=adapter)
    context = CallContext("req-1", "me", time.time() + 5)
    assert [event async for event in client.plan(request, context) if isinstance(event, PlannerDone)]
    return engine.asked[0].adapter, "echo" in str(engine.asked[0].messages[0])


async def test_a_request_gets_the_adapter_that_it_names_and_else_the_one_in_use() -> None:
    known = Known(BIRDS, PLAIN, in_use="plain")
    assert await asked("birds", known) == ("birds", True)
    assert await asked(None, known) == ("plain", False)
    assert await asked(None, Known(BIRDS)) == (None, False)


async def test_an_adapter_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AdapterNotFound, match=r"no adapter 'fish'. Known: birds\."):
        await asked("fish", Known(BIRDS))
    with pytest.raises(AdapterNotFound, match="started without adapters"):
        await asked("fish", None)


async def test_an_adapter_that_goes_while_it_is_asked_for_is_told_as_such() -> None:
    class Gone(ScriptedEngine):
        async def generate(self, request: Any, context: CallContext) -> Any:
            yield EngineChunk(error="adapter_not_found", message="It is gone.")

    client = PlannerClient(Gone(ANSWER), dialect("json"), "llava-plus", None, Known(BIRDS))
    request = PlanRequest((UserTurn(text="Hello"),), [], max_tokens=50, adapter="birds")
    with pytest.raises(AdapterNotFound, match="It is gone"):
        [event async for event in client.plan(request, CallContext("r", "me", time.time() + 5))]


@pytest.mark.parametrize(
    ("model", "adapter"),
    [("llava-plus:birds", "birds"), ("llava-plus", None), ("gpt-4o", None), ("gpt:birds", None), (None, None)],
)
def test_a_model_names_an_adapter_after_the_planner_s_name(model: str | None, adapter: str | None) -> None:
    assert adapter_named(model, "llava-plus") == adapter
    if adapter:
        assert with_adapter("llava-plus", adapter) == model


class TellingPlanner(FakePlanner):
    """Knows one adapter, and says which was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str | None] = []

    async def plan(self, request: PlanRequest, context: CallContext) -> Any:
        self.asked.append(request.adapter)
        if request.adapter not in (None, "birds"):
            raise AdapterNotFound("The planner has no adapter 'fish'. Known: birds.")
        async for event in super().plan(request, context):
            yield event


def serving(planner: TellingPlanner) -> httpx.AsyncClient:
    async def names() -> Sequence[str]:
        return ["birds"]

    orchestrator = Orchestrator(planner, FakeSkills(), FakeImages(), GatewaySettings())
    parts = fake_parts(planner=planner, orchestrator=orchestrator, adapters=names)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(parts)), base_url="http://gateway")


async def test_adapters_are_models_of_the_api() -> None:
    planner = TellingPlanner()
    hello = [{"role": "user", "content": "Hello"}]
    async with serving(planner) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["fake-planner", "fake-planner:birds"]
        body = {"model": "fake-planner:birds", "messages": hello}
        said = (await client.post("/v1/chat/completions", json=body)).json()
        assert said["model"] == "fake-planner:birds"
        await client.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": hello})
        assert planner.asked == ["birds", None]
        refused = await client.post("/v1/chat/completions", json={"model": "fake-planner:fish", "messages": hello})
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"
    assert "Known: birds" in refused.json()["error"]["message"]
