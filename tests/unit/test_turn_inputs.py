"""What comes with a message: several pictures with names, marks, a mode; and skills that are warmed in time."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from gateway_fakes import FakeImages, ScriptedTurns, data_url, fake_parts, picture

from gateway.app import create_app
from gateway.state.models import Marks
from planner.api import PlannerCalls, PlannerDone
from planner.client import PlannerClient
from planner.conversation import UserTurn
from planner.dialects import dialect
from services.core.context import CallContext
from services.core.errors import SkillFailed, SkillUnavailable
from services.core.spec import Symbol
from services.core.types import MaskRLE
from tests.orchestration_fakes import BOXES, OTHER, PAINTED, SENT, Script, Skills, act, answer, run_turn
from tests.unit.test_planner_client import ScriptedEngine

MASK = "img_" + "e" * 40


def asked_text(planner: Script, step: int = 0) -> str:
    (*_, last) = [turn for turn in planner.asked[step].conversation if isinstance(turn, UserTurn)]
    return last.text


async def test_several_pictures_are_named_to_the_planner_and_a_single_one_is_not() -> None:
    planner = Script(answer())
    await run_turn(planner, Skills(), images=(SENT, OTHER), image_names=("my cat", None))
    assert asked_text(planner) == "What is it?\nPictures: image 1 (my cat), image 2."
    planner = Script(answer())
    await run_turn(planner, Skills())
    assert asked_text(planner) == "What is it?"


async def test_edit_that_again_works_on_the_picture_that_was_made_last() -> None:
    skills = Skills()
    edit = act(("edit", {"prompt": "night"}))
    _, first = await run_turn(Script(edit, answer()), skills)
    await run_turn(Script(edit, answer()), skills, images=(), session=first.session)
    named = act(("edit", {"prompt": "night", "image": "image 1"}))
    await run_turn(Script(named, answer()), skills, images=(), session=first.session)
    assert [call.images[Symbol.IMAGE] for call in skills.calls] == [SENT, PAINTED, SENT]


async def test_a_clients_name_for_a_picture_lasts_as_long_as_the_session() -> None:
    skills = Skills()
    _, first = await run_turn(Script(answer()), skills, images=(OTHER, SENT), image_names=("my cat", None))
    await run_turn(Script(act(("tag", {"image": "My cat"})), answer()), skills, images=(), session=first.session)
    assert skills.calls[0].images[Symbol.IMAGE] == OTHER


@pytest.mark.parametrize(
    ("marks", "call", "args"),
    [
        (
            Marks(points=[(0.5, 0.25)], point_labels=[1]),
            ("cut", {}),
            {"points": [[[0.5, 0.25]]], "point_labels": [[1]]},
        ),
        (Marks(points=[(0.5, 0.25)], point_labels=[1]), ("point_cut", {}), {"point": [[0.5, 0.25]]}),
        (Marks(boxes=[tuple(BOXES[0])]), ("cut", {}), {"boxes": [BOXES[0]]}),
        (Marks(boxes=[tuple(BOXES[0])]), ("cut", {"boxes": "$user.boxes"}), {"boxes": [BOXES[0]]}),
        (Marks(boxes=[tuple(BOXES[0])]), ("cut", {"boxes": [BOXES[1]]}), {"boxes": [BOXES[1]]}),
    ],
)
async def test_marks_fill_the_arguments_that_are_meant_for_them(marks: Any, call: Any, args: dict[str, Any]) -> None:
    skills, planner = Skills(), Script(act(call), answer())
    _, first = await run_turn(planner, skills, marks=marks)
    assert skills.calls[0].args == args
    assert "$user." in asked_text(planner)
    await run_turn(Script(act(call), answer()), skills, images=(), session=first.session)
    assert skills.calls[1].args == args, "they stay until another picture comes"
    _, other = await run_turn(Script(answer()), skills, images=(OTHER,), session=first.session)
    assert other.session.marks == Marks()


async def test_a_drawn_mask_and_a_reference_picture_become_symbols() -> None:
    skills = Skills()
    symbols = {Symbol.MASK: MASK, Symbol.REFERENCE_IMAGE: OTHER, Symbol.REFERENCE_MASK: MASK}
    plan = act(("fill", {"prompt": "a hat"}), ("example", {"image": "image 1"}))
    _, finished = await run_turn(Script(plan, answer()), skills, symbols=symbols)
    assert skills.calls[0].images == {Symbol.IMAGE: SENT, Symbol.MASK: MASK}
    assert skills.calls[1].images[Symbol.REFERENCE_IMAGE] == OTHER
    assert finished.session.turns[0].symbols == symbols


async def test_a_reference_is_there_for_the_pictures_that_come_later_and_a_mask_is_not() -> None:
    skills = Skills()
    symbols = {Symbol.MASK: MASK, Symbol.REFERENCE_IMAGE: OTHER, Symbol.REFERENCE_MASK: MASK}
    _, first = await run_turn(Script(answer()), skills, symbols=symbols)
    planner = Script(act(("example", {}), ("fill", {"prompt": "a hat", "mask": "the mask"})), answer())
    _, second = await run_turn(planner, skills, images=(PAINTED,), session=first.session)
    (call, _) = skills.calls
    assert call.images == {Symbol.IMAGE: PAINTED, Symbol.REFERENCE_IMAGE: OTHER, Symbol.REFERENCE_MASK: MASK}
    assert skills.calls[1].images[Symbol.MASK] != MASK, "that of the example's result, not the one drawn before"
    assert second.session.symbols[Symbol.REFERENCE_IMAGE] == OTHER


async def test_all_tools_run_first_and_what_they_found_is_in_the_prompt() -> None:
    skills, planner = Skills(), Script(answer())
    skills.results["map"] = SkillFailed("It broke.")
    _, finished = await run_turn(planner, skills, mode="all_tools")
    assert {call.skill for call in skills.calls} == {"tag", "map", "cut", "point_cut"}
    assert asked_text(planner).endswith("\n\nWhat is it?")
    assert 'tag model outputs: {"tags":["cat","dog"]}' in asked_text(planner)
    assert "map" not in asked_text(planner)
    assert finished.answer == "done", "what could not be found was nobody's wish"
    assert [step.kind for step in finished.steps] == ["all_tools", "plan"]
    await run_turn(again := Script(answer()), skills, mode="all_tools", images=(), session=finished.session)
    assert len(skills.calls) == 4, "they have been run on this picture"
    assert asked_text(again) == "What is it?"


async def test_all_tools_are_run_again_on_a_picture_in_which_none_could_see_anything() -> None:
    skills = Skills()
    working, skills.results = skills.results, dict.fromkeys(skills.results, SkillUnavailable("Away."))
    _, finished = await run_turn(Script(answer()), skills, mode="all_tools")
    skills.results = working
    await run_turn(again := Script(answer()), skills, mode="all_tools", images=(), session=finished.session)
    assert 'tag model outputs: {"tags":["cat","dog"]}' in asked_text(again)


async def test_all_tools_are_bounded_in_number_and_length() -> None:
    skills, planner = Skills(), Script(answer())
    await run_turn(planner, skills, mode="all_tools", limits={"all_tools_max": 1, "all_tools_chars_max": 5})
    assert len(skills.calls) == 1
    assert asked_text(planner) == "What is it?"


async def test_results_of_all_tools_can_be_referred_to() -> None:
    skills, planner = Skills(), Script(act(("find", {"caption": "$tag.tags"})), answer())
    await run_turn(planner, skills, mode="all_tools")
    assert skills.calls[-1].args == {"caption": "cat . dog"}


async def test_a_named_skill_is_warmed_while_the_planner_still_writes() -> None:
    skills, seen = Skills(), list[list[str]]()

    class Slow(Script):
        async def plan(self, request: Any, context: Any) -> Any:
            if not self.asked:
                yield PlannerCalls(("tag", "nope"))
                await asyncio.sleep(0)
                seen.append(list(skills.warmed))
            async for event in super().plan(request, context):
                yield event

    await run_turn(Slow(act(("tag", {})), answer()), skills)
    assert seen == [["tag"]]


@pytest.mark.parametrize("name", ["json", "llava_plus_v0"])
async def test_names_are_told_before_the_plan_is_complete(name: str) -> None:
    spoken = dialect(name)
    text = spoken.render(act(("tag", {}), ("find", {"caption": "a cat"})))
    client = PlannerClient(ScriptedEngine(text), spoken, "model")
    request: Any = Script(answer())
    await run_turn(request, Skills())
    events = [event async for event in client.plan(request.asked[0], CallContext("r", "me", time.time() + 5))]
    named = [event.names for event in events if isinstance(event, PlannerCalls)]
    assert named == [("tag",), ("find",)]
    assert isinstance(events[-1], PlannerDone)


async def test_marks_and_names_come_in_as_parts_of_a_message() -> None:
    import httpx
    import numpy as np

    turns, images = ScriptedTurns(), FakeImages()
    code = MaskRLE.from_array(np.eye(4, dtype=bool)).model_dump(mode="json")
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": data_url(picture()), "name": "cat"}},
        {"type": "points", "points": [[0.5, 0.5]], "labels": [0]},
        {"type": "boxes", "boxes": [[0, 0, 1, 1]]},
        {"type": "mask", "mask": code},
        {"type": "reference", "image": data_url(picture(color="blue")), "mask": data_url(picture(color="white"))},
    ]
    app = create_app(fake_parts(turns, images=images))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as client:
        url = "/v1/chat/completions"
        body = {"messages": [{"role": "user", "content": parts}], "mode": "all_tools"}
        assert (await client.post(url, json=body)).status_code == 200
        wrong = [
            {"type": "points", "points": [[0.5, 0.5]], "labels": [0, 1]},
            {"type": "boxes", "boxes": [[1, 1, 0, 0]]},
        ]
        for part in wrong:
            answered = await client.post(url, json={"messages": [{"role": "user", "content": [parts[0], part]}]})
            assert answered.status_code == 422
    request = turns.asked[0][0]
    assert (request.image_names, request.mode) == (("cat",), "all_tools")
    assert request.marks == Marks(points=[(0.5, 0.5)], point_labels=[0], boxes=[(0, 0, 1, 1)])
    assert set(request.symbols) == {Symbol.MASK, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK}
    assert len(images.kept) == 4
