"""The cost of mistakes: spoilt plans and failing skills, and how turns end all the same."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deploy.mistakes import LocalTurns, RemoteSkills
from planner.api import PlannerDone, PlannerEvent, PlannerUnavailable, PlanRequest
from planner.conversation import ObservationTurn, UserTurn
from planner.eval.command import offered
from planner.eval.gateway import CannotAnswer, GatewayClient, PlatformGone, picture_part, points_part, reference_part
from planner.eval.journal import Journal
from planner.eval.local import LocalEngine, Written
from planner.eval.matching import Tools, is_valid
from planner.eval.mistakes import (
    ENDINGS,
    PLAN_MISTAKES,
    SKILL_MISTAKES,
    FailingSkills,
    MistakenPlanner,
    ending,
    mistaken,
    to_json,
    to_markdown,
)
from planner.eval.world.looking import said
from planner.eval.world.report import answered
from planner.eval.world.run import ask_all
from planner.eval.world.turns import Dialogue, Scenes, Turn
from planner.format import Action, PlannerOutput, UnparsableOutput
from planner.wire import EngineRequest
from services.core.context import CallContext
from services.core.types import MaskRLE
from services.embedded.world.concepts import TRAIN_STYLES
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene
from tests.world_sprites import shapes_atlas

HANDLE = "img_" + "a" * 40
TOOLS = offered(())
READING = {"texts": ["STOP"], "boxes": [[0.1, 0.1, 0.5, 0.5]], "scores": [0.9], "size": {"width": 9, "height": 9}}
READ = PlannerOutput(actions=(Action(API_name="easyocr", API_params={}),))


class Reader:
    """Reads, tells what was read; after a failure it reads once more, as often as it may."""

    model = "reader"

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        last = request.conversation[-1]
        texts = [
            str(one.content.get("text"))
            for one in (last.observations if isinstance(last, ObservationTurn) else ())
            if one.skill == "easyocr" and not one.failed
        ]
        if texts or not request.may_act:
            yield PlannerDone(PlannerOutput(value=f"It says {texts[0] if texts else 'nothing'}."), 9, 3)
        else:
            yield PlannerDone(READ, 9, 3)

    async def ready(self) -> bool:
        return True


def platform(asked: list[dict[str, Any]]) -> httpx.MockTransport:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/images":
            return httpx.Response(200, json={"id": HANDLE})
        body = json.loads(request.content)
        asked.append(body)
        if request.url.path == "/v1/tools/easyocr":
            return httpx.Response(200, json={"result": READING, "checkpoint": "w", "timing": {"compute_ms": 1.0}})
        if request.url.path == "/v1/tools/blip2":
            return httpx.Response(200, json={"result": {"caption": "a dog", "size": {"width": 9, "height": 9}}})
        if request.url.path == "/v1/tools/sam":
            return httpx.Response(422, json={"error": {"message": "give boxes or points"}})
        return httpx.Response(503, json={"error": {"message": "later"}})

    return httpx.MockTransport(respond)


async def played(kind: str, tmp_path: Path) -> dict[str, Any]:
    """One question in which a sign is to be read."""
    turn = Turn("What does it say?", said(lambda answer: "" if "STOP" in answer else "not read"))
    asked: list[dict[str, Any]] = []
    async with GatewayClient("http://platform", transport=platform(asked)) as client:
        skills = RemoteSkills(client, ["easyocr", "sam", "ram"])
        planner = next((MistakenPlanner(Reader(), one) for one in PLAN_MISTAKES if one == kind), Reader())
        failing = next((FailingSkills(skills, one) for one in SKILL_MISTAKES if one == kind), skills)
        journal = Journal(tmp_path / f"{kind}.jsonl", {})
        dialogue = Dialogue("ocr-1", "ocr", 1, (turn,))
        scenes = Scenes(lambda number: render(sample_scene(number, TRAIN_STYLES[:2]), 64, shapes_atlas()))
        await ask_all([dialogue], scenes, LocalTurns(client, planner, failing), journal)
    (record,) = answered([dialogue], journal)
    return record


@pytest.mark.parametrize(
    ("kind", "struck", "how"),
    [
        ("none", False, "right at once"),
        ("unknown_skill", True, "right after a repair"),
        ("bad_arguments", True, "right after a repair"),
        ("broken_text", True, "right after a repair"),
        ("other_skill", True, "right after a repair"),
        ("no_call", True, "wrong, and does not say so"),
        ("needless_call", False, "right at once"),
        ("fails_once", True, "right after a repair"),
        ("unavailable_once", True, "right after a repair"),
        ("fails_always", True, "wrong, and says so"),
        ("finds_nothing", True, "wrong, and does not say so"),
    ],
)
async def test_turns_end_as_the_orchestrator_lets_them(kind: str, struck: bool, how: str, tmp_path: Path) -> None:
    record = await played(kind, tmp_path)
    assert record["struck"] is struck
    assert ending(record) == how, record


def test_every_mistake_is_one_of_its_kind() -> None:
    known = Tools(TOOLS)
    find = PlannerOutput(actions=(Action(API_name="grounding_dino", API_params={"caption": "dog"}),), value="Looking.")
    other = mistaken(find, "other_skill", TOOLS)
    assert other is not None
    assert other.actions[0].API_name != "grounding_dino"
    assert is_valid(other.actions[0], known.by_name[other.actions[0].API_name])
    assert other == mistaken(find, "other_skill", TOOLS)
    unknown = mistaken(find, "unknown_skill", TOOLS)
    assert unknown is not None
    assert unknown.actions[0].API_name not in known.by_name
    bad = mistaken(find, "bad_arguments", TOOLS)
    assert bad is not None
    assert not is_valid(bad.actions[0], known.by_name["grounding_dino"])
    none = mistaken(find, "no_call", TOOLS)
    assert none is not None
    assert none.is_answer
    with pytest.raises(UnparsableOutput):
        mistaken(find, "broken_text", TOOLS)
    answer = PlannerOutput(value="Hello!")
    assert mistaken(answer, "other_skill", TOOLS) is None
    needless = mistaken(answer, "needless_call", TOOLS)
    assert needless is not None
    assert not needless.is_answer
    assert mistaken(find, "needless_call", TOOLS) is None


async def test_marks_and_examples_reach_turns_that_run_here() -> None:
    asked: list[dict[str, Any]] = []
    seen: list[PlanRequest] = []

    class Looker(Reader):
        async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
            seen.append(request)
            yield PlannerDone(PlannerOutput(value="ok"), 1, 1)

    async with GatewayClient("http://platform", transport=platform(asked)) as client:
        turns = LocalTurns(client, Looker(), RemoteSkills(client, ["sam"]))
        code = MaskRLE.from_array(np.ones((4, 4), bool)).model_dump(mode="json")
        parts = [picture_part(HANDLE), points_part([(0.5, 0.5)]), reference_part(HANDLE, code)]
        first = await turns.chat("Cut it out.", parts)
        await turns.chat("And now?", session=first.session)
    asked_in = seen[0].conversation[-1]
    assert isinstance(asked_in, UserTurn)
    text = asked_in.text
    assert "Marked points ($user.points): [[0.5,0.5]]" in text
    assert "A reference picture with a mask was given." in text
    assert len(seen[1].conversation) == 3


def test_the_report_counts_the_turns_in_which_a_mistake_was_made_and_what_it_cost() -> None:
    right = {"wrong": "", "answer": "a", "plans": 2, "struck": True}
    kinds = {
        "none": [
            right | {"id": "a", "struck": False},
            right | {"id": "b", "struck": False, "plans": 3},
            right | {"id": "c", "struck": False, "wrong": "x"},
        ],
        "fails_once": [
            right | {"id": "a", "plans": 3},
            right | {"id": "b", "plans": 3},
            right | {"id": "c", "struck": False},
        ],
        "fails_always": [
            {"id": "a", "wrong": "x", "answer": "b\n\nNot done: ram (it failed).", "plans": 3, "struck": True}
        ],
    }
    page = to_markdown(kinds, {"planner": "x"})
    assert "| none | 3 of 3 | 2/3, 67% (21 to 94) | 2/3, 67% (21 to 94) | 2 | 0 | 0 | 1 | 0 |" in page
    # Three plans are usual for the second question: it was not repaired, the planner asks two skills one by one.
    assert "| fails once | 2 of 3 | 2/2, 100% (34 to 100) | 2/2, 100% (34 to 100) | 1 | 1 | 0 | 0 | 0 |" in page
    assert "| fails always | 1 of 1 | 1/1, 100% (21 to 100) | 0/1, 0% (0 to 79) |" in page
    assert to_json(kinds)["fails_always"]["endings"]["wrong, and says so"] == 1
    assert ending({"wrong": "refused: 400", "answer": ""}) == "refused"
    assert ending({"wrong": "x", "answer": "Sorry, the tool failed."}) == "wrong, and says so"
    assert ending({"wrong": "x", "answer": "There is only one dog."}) == "wrong, and does not say so"
    assert len(ENDINGS) == 5


async def test_a_skill_that_has_nothing_to_be_kept_from_makes_no_mistake() -> None:
    context = CallContext(request_id="r", owner="o", deadline=0.0)
    asked: list[dict[str, Any]] = []
    async with GatewayClient("http://platform", transport=platform(asked)) as client:
        failing = FailingSkills(RemoteSkills(client, ["blip2", "easyocr"]), "finds_nothing")
        told = await failing.call("blip2", {}, {}, context)
        assert (told.result["caption"], failing.struck) == ("a dog", set())
        read = await failing.call("easyocr", {}, {}, context)
        assert (read.result["texts"], failing.struck) == ([], {"r"})


async def test_a_platform_that_goes_away_in_a_turn_is_not_taken_for_a_skill_that_failed() -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    async with GatewayClient("http://platform", transport=httpx.MockTransport(gone)) as client:
        turns = LocalTurns(client, Reader(), RemoteSkills(client, ["easyocr"]))
        with pytest.raises(PlatformGone):
            await turns.chat("What does it say?", [picture_part(HANDLE)])


async def test_a_planner_that_cannot_answer_now_is_asked_again_later() -> None:
    class Away(Reader):
        async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
            raise PlannerUnavailable("The planner is restarting.")
            yield  # an asynchronous generator, as the port has it

    async with GatewayClient("http://platform", transport=platform([])) as client:
        turns = LocalTurns(client, Away(), RemoteSkills(client, ["easyocr"]))
        with pytest.raises(CannotAnswer, match="restarting"):
            await turns.chat("What does it say?", [picture_part(HANDLE)])


async def test_a_local_model_is_given_the_pictures_that_handles_stand_for() -> None:
    shown: list[bytes] = []

    class Writer:
        def complete(self, messages: Any, schema: Any, max_tokens: int) -> Written:
            shown.append(Path(messages[0]["content"][0]["image_ref"].removeprefix("file:")).read_bytes())
            return Written("{}", 5, 1, cut=True)

    async def pictures(handle: str) -> bytes:
        return handle.encode()

    content = [{"type": "image_ref", "image_ref": HANDLE}, {"type": "text", "text": "What?"}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}, {"role": "assistant", "content": "A dog."}]
    request = EngineRequest(messages, None, 9, 0.0, None, "r")
    context = CallContext(request_id="r", owner="o", deadline=0.0)
    chunks = [chunk async for chunk in LocalEngine(Writer(), pictures).generate(request, context)]
    assert shown == [HANDLE.encode()]
    assert [chunk.finish_reason for chunk in chunks] == ["stop", "length"]
