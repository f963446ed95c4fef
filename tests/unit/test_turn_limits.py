"""Deadlines and cancellation run through a turn, down to queued calls and the planner's generation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.orchestrator.calls import SkillRunner
from gateway.orchestrator.events import AnswerDelta, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.orchestrator.planned import PlannedCall
from gateway.settings import GatewaySettings
from planner.api import PlannerDelta
from services.core.context import CallContext
from tests.gateway_fakes import FakeImages
from tests.orchestration_fakes import SENT, Script, Skills, act, answer, new_session, run_turn


def turn(planner: Any, skills: Skills, **limits: Any) -> Any:
    orchestrator = Orchestrator(planner, skills, FakeImages(), GatewaySettings(**limits))
    context = CallContext("req-1", "me", time.time() + 30)
    return orchestrator.run(TurnRequest(text="What is it?", images=(SENT,)), new_session(), context)


async def test_a_turn_that_is_cancelled_cancels_running_calls_and_starts_no_queued_ones() -> None:
    skills, running, cancelled = Skills(), asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    skills.before = {"tag": hang}
    plan = act(("tag", {}), ("map", {}), ("find", {"caption": "cat"}))

    async def client() -> None:
        async for _ in turn(Script(plan, answer()), skills, turn_parallel_max=1):
            pass

    task = asyncio.create_task(client())
    async with asyncio.timeout(10):
        await running.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert cancelled.is_set()
    assert skills.log == ["tag starts"]


async def test_all_calls_of_a_turn_together_leave_the_same_time_for_the_answer() -> None:
    skills = Skills()
    steps = [act(("tag", {}), ("map", {})), act(("tag", {}))]
    await run_turn(Script(*steps, answer()), skills, seconds=20.0, mode="all_tools", limits={"all_tools_max": 1})
    assert len(skills.deadlines) == 4
    assert len(set(skills.deadlines)) == 1, "what earlier calls took is not taken from the answer's part"


async def test_a_call_for_which_no_time_is_left_is_not_run_and_says_so() -> None:
    skills = Skills()
    runner = SkillRunner(skills, FakeImages(), GatewaySettings())
    call = PlannedCall(0, "tag", {}, spec=skills.resolve("tag"))
    (result,) = await runner.run([call], CallContext("req-1", "me", time.time() - 1))
    assert skills.calls == []
    assert result.error is not None
    assert (result.error["kind"], result.observation.content["error"]) == (
        "deadline_exceeded",
        "tag was not run: the turn's time for calls is over.",
    )


async def test_a_turn_that_is_closed_ends_the_planners_generation() -> None:
    closed = asyncio.Event()

    class Talking(Script):
        async def plan(self, request: Any, context: Any) -> Any:
            try:
                while True:
                    yield PlannerDelta("word ")
            finally:
                closed.set()

    events = turn(Talking(answer()), Skills())
    assert isinstance(await anext(events), AnswerDelta)
    await events.aclose()
    assert closed.is_set()


async def test_a_turn_that_is_cancelled_while_the_planner_thinks_ends_its_generation() -> None:
    thinking, closed = asyncio.Event(), asyncio.Event()

    class Thinking(Script):
        async def plan(self, request: Any, context: Any) -> Any:
            try:
                thinking.set()
                await asyncio.Event().wait()
                yield
            finally:
                closed.set()

    task = asyncio.create_task(anext(turn(Thinking(answer()), Skills())))
    async with asyncio.timeout(10):
        await thinking.wait()
        task.cancel()
        await asyncio.wait([task])
    assert closed.is_set()


async def test_every_limit_is_a_setting_with_its_unit() -> None:
    limits = {
        "turn_steps_max": "planner calls",
        "turn_calls_max": "skill calls",
        "turn_parallel_max": "skill calls",
        "turn_deadline_s": "seconds",
        "tool_deadline_s": "seconds",
        "turn_answer_reserve_s": "seconds",
    }
    for name, unit in limits.items():
        assert unit in (GatewaySettings.model_fields[name].description or "")
