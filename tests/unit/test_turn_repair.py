"""Mistakes of the planner and failures of skills: one more try a kind, then an honest answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import structlog

from gateway.orchestrator.events import SkillFinished
from planner.api import PlannerUnavailable, PromptTooLong
from planner.conversation import ObservationTurn
from planner.format import PlannerOutput, UnparsableOutput
from services.core.errors import DeadlineExceeded, ImageNotFound, SkillFailed
from tests.orchestration_fakes import Call, Script, Skills, act, answer, run_turn

MUMBLE = UnparsableOutput("not JSON: Expecting value", "mumble", 20, 5)
TAG = act(("tag", {}))


async def test_output_that_cannot_be_read_is_told_and_tried_once_more() -> None:
    planner = Script(MUMBLE, answer("a cat"))
    _, finished = await run_turn(planner, Skills())
    assert planner.told(1) == ["not JSON: Expecting value"]
    assert finished.answer == "a cat"
    assert [turn.kind for turn in finished.session.conversation] == ["user", "assistant"], "the mishap is not kept"
    assert [step.value for step in finished.steps] == ["mumble", "a cat"]
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (30, 8), "both replies are counted"


async def test_a_second_reply_that_cannot_be_read_ends_the_turn_with_what_there_is() -> None:
    planner = Script(TAG, MUMBLE, MUMBLE, answer("never asked"))
    _, finished = await run_turn(planner, Skills())
    assert len(planner.asked) == 3
    assert finished.answer == 'I could not put the results into words. They are:\ntag: ["cat","dog"]'


async def test_an_unknown_tool_is_told_with_names_that_are_close() -> None:
    planner = Script(act(("tags", {})), TAG, answer("cat, dog"))
    _, finished = await run_turn(planner, Skills())
    assert "Did you mean tag?" in planner.told(1)[0]
    assert finished.answer == "cat, dog", "what was made good is not mentioned"


async def test_bad_arguments_never_reach_the_skill() -> None:
    planner, skills = Script(act(("find", {"captions": "cat"})), answer()), Skills()
    await run_turn(planner, skills)
    assert planner.told(1) == ["find has no argument 'captions'; it takes: caption, box_threshold."]
    assert skills.calls == []


@pytest.mark.parametrize(
    ("plan", "note"),
    [
        (act(("nope", {})), "Not done: nope (there is no such tool)."),
        (act(("find", {})), "Not done: find (it was not called rightly)."),
        (act(("edit", {"prompt": "x"})), "Not done: edit (it failed)."),
        (act(("map", {})), "Not done: map (it took too long)."),
    ],
)
async def test_after_a_second_failure_of_a_kind_the_planner_may_only_answer(plan: PlannerOutput, note: str) -> None:
    skills = Skills()
    skills.results |= {"edit": SkillFailed("/secret/path"), "map": DeadlineExceeded("slow")}
    planner = Script(plan, plan, answer("Sorry."))
    _, finished = await run_turn(planner, skills, limits={"turn_steps_max": 9})
    assert [request.may_act for request in planner.asked] == [True, True, False]
    assert finished.answer == f"Sorry.\n\n{note}"


async def test_mistakes_of_different_kinds_have_a_try_each() -> None:
    skills = Skills()
    skills.results["edit"] = SkillFailed("It broke.")
    planner = Script(act(("nope", {})), act(("find", {})), act(("edit", {"prompt": "x"})), TAG, answer("ok"))
    _, finished = await run_turn(planner, skills, limits={"turn_steps_max": 9})
    assert [request.may_act for request in planner.asked] == [True] * 5
    assert "find" in finished.answer
    assert "nope" not in finished.answer, "a later call took the unknown tool's place"


async def test_partial_results_survive_a_failure_beside_them() -> None:
    skills = Skills()
    skills.results["map"] = SkillFailed("It broke.")
    _, finished = await run_turn(Script(act(("tag", {}), ("map", {})), answer("")), skills)
    assert "cat" in finished.answer
    assert finished.answer.endswith("Not done: map (it failed).")


@pytest.mark.parametrize("again", [False, True])
async def test_a_failure_is_made_good_by_a_later_plan_and_not_by_another_call_beside_it(again: bool) -> None:
    class Half(Skills):
        async def call(self, skill: str, args: Any, images: Any, context: Any) -> Any:
            if not self.calls:
                self.calls.append(Call(skill, dict(args), dict(images)))
                raise SkillFailed("It broke.")
            return await super().call(skill, args, images, context)

    both = act(("find", {"caption": "cat"}), ("find", {"caption": "dog"}))
    retry = [act(("find", {"caption": "cat"}))] if again else []
    _, finished = await run_turn(Script(both, *retry, answer("A dog.")), Half())
    assert finished.answer == ("A dog." if again else "A dog.\n\nNot done: find (it failed).")


async def test_a_call_that_breaks_in_an_unforeseen_way_fails_alone() -> None:
    skills = Skills()
    skills.results["map"] = KeyError("a secret path")
    with structlog.testing.capture_logs() as logs:
        planner = Script(act(("tag", {}), ("map", {})), answer("A cat and a dog."))
        _, finished = await run_turn(planner, skills)
    assert planner.told()[1] == "map failed."
    assert finished.answer == "A cat and a dog.\n\nNot done: map (it failed)."
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["skill_call_broke"]


@pytest.mark.parametrize("error", [PlannerUnavailable("away"), PromptTooLong("long"), ImageNotFound("gone")])
async def test_results_survive_a_planner_that_goes_away(error: Exception) -> None:
    _, finished = await run_turn(Script(TAG, error), Skills())
    assert "cat" in finished.answer


async def test_a_skill_that_hangs_is_given_up_in_time_for_an_answer() -> None:
    skills = Skills(before={"tag": asyncio.Event().wait})
    started = time.monotonic()
    events, finished = await run_turn(Script(TAG, answer("Sorry.")), skills, seconds=2.0)
    (ended,) = [event for event in events if isinstance(event, SkillFinished)]
    assert ended.error is not None
    assert ended.error["kind"] == "deadline_exceeded"
    assert finished.answer == "Sorry.\n\nNot done: tag (it took too long)."
    assert time.monotonic() - started < 2.0


async def test_a_planner_that_hangs_is_an_error_of_the_turn() -> None:
    class Hanging(Script):
        async def plan(self, request: Any, context: Any) -> Any:
            await asyncio.Event().wait()
            yield

    with pytest.raises(PlannerUnavailable, match="deadline"):
        await run_turn(Hanging(answer()), Skills(), seconds=0.05)


async def test_a_result_that_is_not_of_the_skills_form_is_a_failure_of_the_skill() -> None:
    skills = Skills()
    skills.results["tag"] = {"tags": 3}
    _, finished = await run_turn(Script(TAG, answer("Sorry.")), skills)
    assert finished.answer == "Sorry.\n\nNot done: tag (it failed)."


async def test_calls_over_the_limit_are_told_to_the_planner() -> None:
    planner = Script(act(("tag", {}), ("map", {}), ("tag", {})), answer())
    await run_turn(planner, Skills(), limits={"turn_calls_max": 2})
    assert planner.told(1)[2] == "Not run: a turn may make 2 calls."
    observed = planner.asked[1].conversation[-1]
    assert isinstance(observed, ObservationTurn)


async def test_calls_for_which_no_more_were_allowed_are_named_in_the_answer() -> None:
    planner = Script(act(("find", {"caption": "cat"}), ("tag", {}), ("tag", {})), answer("A cat."))
    _, finished = await run_turn(planner, Skills(), limits={"turn_calls_max": 1})
    assert finished.answer == "A cat.\n\nNot done: tag (no more calls were allowed)."


async def test_a_picture_that_was_made_is_told_by_its_name() -> None:
    planner = Script(act(("edit", {"prompt": "night"})), answer())
    await run_turn(planner, Skills(), limits={"planner_brief": False})
    assert "'edited_image': 'image 2'" in planner.told(1)[0]
