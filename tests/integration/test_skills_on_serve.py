"""Skills on the real Ray Serve, through the gateway: what happens when one is slow, crowded or dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.core.images import decode
from tests.conftest import free_port
from tests.gateway_fakes import picture
from tests.openai_server import Endpoint, calls, serving_in_a_thread, text
from tests.second_gateway import gateway_with_planner

ROOT = Path(__file__).parents[2]
PROFILE = """
applications:
  - name: quiet
    skills:
      echo: {class: "tests.skill_examples:Echo"}
      slow: {class: "tests.integration.troubled_skill:Slow", max_batch_size: 4}
      echo+sketcher: {class: "tests.skill_examples:Doubler"}
    num_cpus: 0
  - name: pictures
    skills:
      sketcher: {class: "tests.skill_examples:Sketcher", load: first_call}
      threads: {class: "tests.integration.troubled_skill:Threads"}
    num_cpus: 0
    intra_op_threads: 2
  - name: trouble
    skills:
      trouble: {class: "tests.integration.troubled_skill:Trouble", max_batch_size: 1, options: {diary: "DIARY-calls"}}
    num_cpus: 0
    max_ongoing_requests: 1
    max_queued_requests: 2
  - name: asleep
    skills: {sleeper: {class: "tests.integration.troubled_skill:Sleeper", options: {diary: "DIARY"}}}
    num_cpus: 0
    autoscaling: {min_replicas: 0, max_replicas: 1, upscale_delay_s: 0}
"""
DEADLINE_S = 60.0


@dataclass
class SlowWriter(Endpoint):
    """A planner that stops in the middle of a call's arguments until `go_on`, and tells whether that came."""

    go_on: Callable[[], bool] = lambda: True
    went_on: bool = False

    async def _stream(self, reply: Any) -> AsyncIterator[bytes]:
        async for event in super()._stream(reply):
            yield event
            give_up = time.monotonic() + DEADLINE_S
            while b'"arguments": "{' in event and not self.went_on and time.monotonic() < give_up:
                self.went_on = self.go_on()
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def diary() -> Iterator[Path]:
    """What the sleeper writes when it is loaded."""
    folder = Path(tempfile.mkdtemp(prefix="lp-diary-"))
    yield folder / "diary"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def address(diary: Path) -> Iterator[str]:
    """A platform with a few skills, no planner, and a deadline of two seconds a call."""
    folder = Path(tempfile.mkdtemp(prefix="lp-"))
    (folder / "profile.yaml").write_text(PROFILE.replace("DIARY", str(diary)))
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    environment |= {"LLAVA_PLUS_STATE_DIR": str(folder / "state"), "LLAVA_PLUS_TOOL_DEADLINE_S": "2"}
    command = [sys.executable, "-m", "deploy.cli.main"]
    port = free_port()
    up = [*command, "up", "--profile", str(folder / "profile.yaml"), "--port", str(port), "--detach"]
    try:
        started = subprocess.run(up, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=180)
        assert started.returncode == 0, started.stdout + started.stderr
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([*command, "down"], env=environment, cwd=ROOT, check=True, timeout=120)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def client(address: str) -> Any:
    # These tests are about replicas: an answer from the results cache would tell nothing.
    fresh = {"Cache-Control": "no-cache"}
    async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False, headers=fresh) as http:
        yield http


async def trouble(client: httpx.AsyncClient, **arguments: Any) -> httpx.Response:
    return await client.post("/v1/tools/trouble", json={"arguments": arguments})


async def pid_once_answered(client: httpx.AsyncClient) -> int:
    """Which replica answers, as soon as one does."""
    give_up = time.monotonic() + DEADLINE_S
    while True:
        answer = await trouble(client)
        if answer.status_code == 200:
            return int(answer.json()["result"]["pid"])
        assert time.monotonic() < give_up, answer.text
        await asyncio.sleep(0.1)


def written(diary: Path) -> list[str]:
    return diary.read_text().split() if diary.exists() else []


async def until_written(diary: Path) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while True:
        if written(diary):
            return
        assert time.monotonic() < give_up, "nothing was written down"
        await asyncio.sleep(0.02)


async def test_an_answer_comes_back_with_its_timing_and_checkpoint(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tools/parrot", json={"arguments": {"text": "hello"}})
    assert answer.status_code == 200
    body = answer.json()
    assert body["tool"] == "echo"
    assert body["result"]["text"] == "hello"
    assert body["checkpoint"] == "no-weights"
    assert body["timing"]["compute_ms"] <= body["timing"]["total_ms"]


async def test_calls_that_wait_for_a_batch_share_the_next_one(client: httpx.AsyncClient) -> None:
    calls = (client.post("/v1/tools/slow", json={"arguments": {}}) for _ in range(8))
    answers = [answer.json() for answer in await asyncio.gather(*calls)]
    assert max(answer["timing"]["batch_size"] for answer in answers) > 1


async def test_calls_at_the_same_time_get_each_their_own_answer(client: httpx.AsyncClient) -> None:
    calls = (client.post("/v1/tools/echo", json={"arguments": {"text": str(i)}}) for i in range(40))
    answers = [answer.json() for answer in await asyncio.gather(*calls)]
    assert [answer["result"]["text"] for answer in answers] == [str(i) for i in range(40)]


async def test_a_composite_runs_its_parts_here_and_in_another_application(client: httpx.AsyncClient) -> None:
    uploaded = await client.post("/v1/images", files={"file": picture(size=(30, 20))})
    body = {"image": uploaded.json()["id"], "arguments": {"text": "hello"}}
    answer = await client.post("/v1/tools/echo+sketcher", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"]["text"] == "hello hello"
    assert answer.json()["checkpoint"] == "no-weights + built-in"
    made = await client.get(f"/v1/images/{answer.json()['result']['turned']}")
    assert decode(made.content).size == (30, 20)


async def test_a_wrong_call_of_a_composites_part_is_told_as_such(client: httpx.AsyncClient) -> None:
    uploaded = await client.post("/v1/images", files={"file": picture(size=(30, 20))})
    body = {"image": uploaded.json()["id"], "arguments": {"text": "refuse"}}
    answer = await client.post("/v1/tools/echo+sketcher", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "text"


async def test_torch_uses_the_threads_that_the_profile_gives_it(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tools/threads", json={"arguments": {}})
    assert answer.json()["result"] == {"threads": 2}


async def test_a_replica_that_dies_is_replaced_and_its_neighbours_go_on(client: httpx.AsyncClient) -> None:
    before = await pid_once_answered(client)
    died, quiet = await asyncio.gather(
        trouble(client, do="die"), client.post("/v1/tools/echo", json={"arguments": {"text": "calm"}})
    )
    assert died.status_code in (503, 504), died.text
    assert int(died.headers["Retry-After"]) >= 1
    assert "Traceback" not in died.text
    assert quiet.status_code == 200
    assert await pid_once_answered(client) != before


async def test_a_slow_call_ends_at_its_deadline(client: httpx.AsyncClient) -> None:
    await pid_once_answered(client)
    slow = await trouble(client, do="wait", seconds=4)
    assert slow.status_code == 504
    assert slow.json()["error"]["code"] == "deadline_exceeded"
    await pid_once_answered(client)


async def test_a_crowd_is_told_to_come_back_later(client: httpx.AsyncClient) -> None:
    await pid_once_answered(client)
    answers = await asyncio.gather(*(trouble(client, do="wait", seconds=0.3) for _ in range(12)))
    statuses = [answer.status_code for answer in answers]
    assert 200 in statuses
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused, statuses
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


async def test_a_call_that_waits_is_not_run_when_its_client_has_left(client: httpx.AsyncClient, diary: Path) -> None:
    ran = Path(f"{diary}-calls")
    await pid_once_answered(client)
    running = asyncio.create_task(trouble(client, do="wait", seconds=1.5, name="first"))
    await until_written(ran)
    crowd = {asyncio.create_task(trouble(client, name="waiting")) for _ in range(3)}
    refused, waiting = await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().status_code for task in refused] == [429], "two wait, and that is all that may"
    for task in waiting:
        task.cancel()
    assert (await running).status_code == 200
    assert (await trouble(client, name="last")).status_code == 200
    assert written(ran) == ["first", "last"]


async def test_chat_without_a_planner_says_so(client: httpx.AsyncClient) -> None:
    body = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert "no planner" in answer.json()["error"]["message"]


def test_a_skill_without_replicas_is_started_while_the_planner_still_writes(
    address: str, diary: Path, tmp_path: Path
) -> None:
    assert not diary.exists(), "no replica runs before somebody asks for the skill"
    planner = SlowWriter([calls(("sleeper", "{}"), piece=1), text("It is awake.")], go_on=diary.exists)
    question = {"messages": [{"role": "user", "content": "Wake it."}], "debug": True}
    with serving_in_a_thread(planner), gateway_with_planner(address, planner.url, tmp_path / "log") as (url, _):
        answer = httpx.post(f"{url}/v1/chat/completions", json=question, timeout=2 * DEADLINE_S, trust_env=False)
    assert planner.went_on, "the skill was loaded before its arguments were complete"
    assert answer.json()["choices"][0]["message"]["content"] == "It is awake."
    (call,) = answer.json()["debug"]["steps"][0]["results"]
    assert call["result"]["pid"] > 0
