"""Whatever a planner writes, the turn ends with an answer: over 5,000 mutated outputs through the real parsers."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.orchestrator.events import AnswerDelta, TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.responses import json_bytes
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from planner.api import PlannerUnavailable
from planner.client import PlannerClient
from planner.dialects import dialect
from planner.openai_engine import OpenAIEngine
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from tests.gateway_fakes import FakeImages
from tests.openai_server import calls as calls_of
from tests.openai_server import text as text_of
from tests.orchestration_fakes import SENT, Skills

RECORDED = [
    str(json.loads(line)["text"])
    for line in (Path(__file__).parent.parent / "data" / "planner_outputs.jsonl").read_text("ascii").splitlines()
]
MUTATED = 4_500
GENERATED = 500
STREAMED = 500
DIALECTS = ("json", "llava_plus_v0")
JUNK = ['"', "'", "{", "}", "[", "]", ",", ":", "\\", "\\u", "\\ud800", "\ud800", "\x00", "🚀", "$1.", "null", "1e999"]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with structlog.testing.capture_logs():
        yield


class Writer:
    """An engine that writes given texts in pieces, the last one for ever."""

    def __init__(self, texts: list[str], piece: int, finish_reason: str) -> None:
        self.texts, self.piece, self.finish_reason = texts, piece, finish_reason

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        for start in range(0, len(text), self.piece):
            yield EngineChunk(text=text[start : start + self.piece])
        yield EngineChunk(final=True, prompt_tokens=7, completion_tokens=3, finish_reason=self.finish_reason)

    async def ready(self) -> bool:
        return True


async def check(texts: list[str], name: str, piece: int = 40, finish_reason: str = "stop", turns: int = 1) -> None:
    await check_turns(PlannerClient(Writer(texts, piece, finish_reason), dialect(name), "model"), turns)


async def check_turns(planner: PlannerClient, turns: int = 1) -> None:
    """Turns in one session: answers that can be stored and sent."""
    session = Session(id="sess_1", owner="me", created=0.0)
    orchestrator = Orchestrator(planner, Skills(), FakeImages(), GatewaySettings())
    for _ in range(turns):
        context = CallContext("req-1", "me", time.time() + 30)
        request = TurnRequest(text="What is it?", images=(SENT,))
        events = [event async for event in orchestrator.run(request, session, context)]
        finished = events[-1]
        assert isinstance(finished, TurnFinished)
        assert finished.answer.strip()
        assert "".join(event.text for event in events if isinstance(event, AnswerDelta)) == finished.answer
        json_bytes({"answer": finished.answer, "steps": [step.model_dump(mode="json") for step in finished.steps]})
        session = Session.model_validate_json(finished.session.model_dump_json())


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at, to = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
        what = chance.randrange(7)
        if what == 0:
            text = text[:at]
        elif what == 1:
            text = text[:at] + text[min(to, at + 3) :]
        elif what == 2:
            text = text[:at] + chance.choice(JUNK) + text[at:]
        elif what == 3:
            text = text[:at] + text[at:to] * 2 + text[to:]
        elif what == 4:
            text = text[:at] + chance.choice(RECORDED)[:200] + text[to:]
        elif what == 5:
            text = text[:at] + chance.choice("[{(") * chance.choice((3, 100, 3000)) + text[at:]
        elif at < len(text):
            text = text[:at] + chr(chance.randrange(0xD7FF)) + text[at + 1 :]
    return text


@pytest.mark.parametrize("name", DIALECTS)
async def test_recorded_malformed_outputs_end_in_an_answer(name: str) -> None:
    for text in RECORDED:
        await check([text], name, turns=2)
        await check([text], name, finish_reason="length")


@pytest.mark.timeout(1200)
async def test_mutated_outputs_end_in_an_answer() -> None:
    chance = random.Random(20231109)
    for number in range(MUTATED):
        texts = [mutated(chance.choice(RECORDED), chance) for _ in range(3)]
        name, reason = chance.choice(DIALECTS), chance.choice(("stop", "stop", "length"))
        try:
            await check(list(texts), name, chance.choice((7, 40, 10_000)), reason)
        except Exception as error:
            raise AssertionError(f"mutation {number}, {name}: {texts!r}") from error


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["$1.boxes", "$find.boxes.0", "image 1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["caption", "boxes", "mask", "$ref", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
calls = st.fixed_dictionaries(
    {
        "API_name": st.sampled_from(["find", "cut", "fill", "edit", "map", "follow", "tag", "nope", "point_cut"])
        | st.text(max_size=70),
        "API_params": st.dictionaries(
            st.sampled_from(["caption", "boxes", "points", "point", "prompt", "mask", "image", "image_seg", "x"]),
            values,
            max_size=3,
        ),
    }
)
plans = st.fixed_dictionaries(
    {"thoughts": st.just("t"), "actions": st.lists(calls, max_size=5), "value": st.text(max_size=8)}
)


@pytest.mark.timeout(1200)
@given(st.lists(plans, min_size=1, max_size=3))
@settings(
    max_examples=GENERATED,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
async def test_well_formed_plans_with_any_calls_end_in_an_answer(said: list[Any]) -> None:
    await check([json.dumps(plan) for plan in said], "json", piece=10_000)


ODD: list[Any] = [
    None,
    True,
    3,
    -1,
    1e308,
    "",
    "x",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"index": "0"},
    [{"function": 3}],
    "$1.boxes",
]
REPLIES = [
    calls_of(("find", '{"caption": "cat"}'), ("cut", '{"boxes": "$1.boxes"}'), content="Let me look."),
    calls_of(("find", '{"caption": '), ("nope", "[]")),
    calls_of(("edit", '{"prompt": "night"}'), ("tag", "{}"), ("tag", '{"image": "$1.edited_image"}')),
    text_of("Two ", "cats."),
]


class Pictures:
    async def get(self, name: str) -> bytes:
        return b"\x89PNG"


def odd(node: Any, chance: random.Random) -> Any:
    """The same data with a part of it replaced, dropped or said twice."""
    if isinstance(node, dict) and node and chance.random() < 0.9:
        key = chance.choice(list(node))
        if chance.random() < 0.1:
            return {name: value for name, value in node.items() if name != key}
        return node | {key: odd(node[key], chance)}
    if isinstance(node, list) and node and chance.random() < 0.9:
        at = chance.randrange(len(node))
        return [*node[:at], odd(node[at], chance), *node[at + chance.choice((0, 1, 1, 1)) :]]
    return chance.choice(ODD)


def streamed(chance: random.Random) -> bytes:
    """A reply of an OpenAI-compatible endpoint that keeps to the protocol only roughly."""
    events: list[Any] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in chance.choice(REPLIES)
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5}})
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(events))
        events[at] = odd(events[at], chance)
    lines = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return b"".join([*lines, b"data: [DONE]\n\n"])


@pytest.mark.timeout(1200)
async def test_an_endpoint_that_keeps_to_its_protocol_only_roughly_ends_in_an_answer_or_a_clear_error() -> None:
    chance = random.Random(20231110)
    answered = 0
    for number in range(STREAMED):
        sent = list[bytes]()

        def reply(_: httpx.Request, sent: list[bytes] = sent) -> httpx.Response:
            sent.append(streamed(chance))
            return httpx.Response(200, content=sent[-1])

        engine = OpenAIEngine("http://endpoint/v1", "gpt", Pictures(), transport=httpx.MockTransport(reply))
        try:
            await check_turns(PlannerClient(engine, dialect("openai_tools"), "gpt"))
            answered += 1
        except PlannerUnavailable:
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number}: {sent!r}") from error
        await engine.close()
    assert answered > STREAMED / 2
