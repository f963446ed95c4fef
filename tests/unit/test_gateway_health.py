from __future__ import annotations

import asyncio
import base64
import hashlib
import re

import httpx
import pytest
from fastapi import FastAPI
from gateway_fakes import FakePlanner, FakeSessions, FakeSkills, ScriptedTurns, fake_parts, question
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import create_app
from gateway.settings import GatewaySettings


async def get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        return await client.get(path)


async def test_the_gateway_is_ready_when_planner_state_and_every_skill_are() -> None:
    response = await get(create_app(fake_parts()), "/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "planner": True,
        "state": True,
        "skills": {"painter+mask": True, "reader": True},
    }


@pytest.mark.parametrize("part", ["planner", "state", "skills"])
async def test_the_gateway_is_not_ready_while_one_part_is_not(part: str) -> None:
    sessions = FakeSessions()
    sessions.available = part != "state"
    parts = fake_parts(
        planner=FakePlanner(available=part != "planner"),
        skills=FakeSkills(available=part != "skills"),
        sessions=sessions,
    )
    response = await get(create_app(parts), "/readyz")
    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert (await get(create_app(parts), "/healthz")).status_code == 200


class SilentPlanner(FakePlanner):
    async def ready(self) -> bool:
        await asyncio.Event().wait()
        raise AssertionError


class BrokenPlanner(FakePlanner):
    async def ready(self) -> bool:
        raise OSError("no route")


@pytest.mark.parametrize("planner", [SilentPlanner(), BrokenPlanner()])
async def test_a_part_that_does_not_say_whether_it_is_ready_is_not(planner: FakePlanner) -> None:
    parts = fake_parts(planner=planner, settings=GatewaySettings(ready_timeout_s=0.01))
    response = await get(create_app(parts), "/readyz")
    assert response.status_code == 503
    assert response.json()["planner"] is False


async def test_metrics_are_prometheus_text_with_requests_turns_and_tokens() -> None:
    app = create_app(fake_parts(ScriptedTurns(["Hi"])))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        await client.post("/v1/chat/completions", json={"messages": [question("Hello")]})
        await client.get("/some/unknown/path")
        text = (await client.get("/metrics")).text
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["llava_plus_requests_total", "/v1/chat/completions", "200", "POST"] == 1
    assert samples["llava_plus_requests_total", "(unmatched)", "404", "GET"] == 1
    assert samples["llava_plus_turns_total", "stop"] == 1
    assert samples["llava_plus_tokens_total", "prompt"] == 7
    assert samples["llava_plus_planner_seconds_count",] == 1
    assert samples["llava_plus_requests_active",] == 1, "the request for the metrics itself"


async def test_the_page_loads_nothing_from_elsewhere_and_may_run_only_its_own_script() -> None:
    response = await get(create_app(fake_parts()), "/")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "http://" not in response.text
    assert "https://" not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    directives = {name: sources for name, *sources in (part.split() for part in policy.split(";") if part.strip())}
    for tag in ("script", "style"):
        inline = re.search(rf"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)
        assert inline is not None
        digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in directives[f"{tag}-src"]
