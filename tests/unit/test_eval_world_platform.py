"""The questions of the embedded world asked of the real gateway, with skills and a planner that know the truth."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from planner.eval.gateway import CannotAnswer, PlatformGone, Reply
from planner.eval.journal import Journal
from planner.eval.world.questions import ROWS, dialogues
from planner.eval.world.report import answered
from planner.eval.world.run import Job, ask_jobs
from planner.eval.world.turns import Dialogue, Scenes
from planner.format import Action, PlannerOutput
from services.core.errors import SkillFailed
from services.embedded.world.concepts import TRAIN_STYLES
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene, scene_rng
from tests.world_platform import true_platform
from tests.world_sprites import shapes_atlas


@lru_cache(maxsize=1)
def scenes() -> Scenes:
    return Scenes(lambda number: render(sample_scene(scene_rng(5, number), TRAIN_STYLES[:2]), atlas=shapes_atlas()))


@lru_cache(maxsize=1)
def made() -> list[Dialogue]:
    return dialogues(scenes(), 4)


async def asked(
    tmp_path: Path, *rows: str, planner: Any = None, skills: Any = None, at_once: int = 4
) -> list[dict[str, Any]]:
    wanted = [dialogue for dialogue in made() if not rows or dialogue.row in rows]
    client, true_skills, true_planner = true_platform(wanted, scenes())
    true_planner.spoil = planner or true_planner.spoil
    true_skills.spoil = skills or true_skills.spoil
    journal = Journal(tmp_path / "asked.jsonl", {})
    async with client:
        await ask_jobs([Job(dialogue, client, journal) for dialogue in wanted], scenes(), at_once=at_once, pauses_s=())
    return answered(wanted, journal)


async def test_the_truth_is_right_in_every_row_whatever_is_asked_at_the_same_time(tmp_path: Path) -> None:
    records = await asked(tmp_path)
    assert {record["row"] for record in records} == set(ROWS)
    assert [(record["id"], record["wrong"]) for record in records if record["wrong"]] == []
    assert [
        (record["id"], record["plan"], record["arguments"]) for record in records if record["plan"] != "right"
    ] == []
    assert {record["fault"] for record in records} == {None}


def _instead(skill: str, *, of: str) -> Any:
    """A planner that calls one skill instead of another."""

    def spoil(question: str, output: PlannerOutput) -> PlannerOutput:
        if not output.actions or output.actions[0].API_name != of:
            return output
        return PlannerOutput(actions=(Action(API_name=skill, API_params={}),))

    return spoil


def _silent(question: str, output: PlannerOutput) -> PlannerOutput:
    return PlannerOutput(value="I have looked at it.")


def _wordless(question: str, output: PlannerOutput) -> PlannerOutput:
    return output if output.actions else PlannerOutput(value="I have looked at it.")


def _sentence(question: str, output: PlannerOutput) -> PlannerOutput:
    if not output.actions:
        return output
    return PlannerOutput(actions=(Action(API_name="grounding_dino", API_params={"caption": "thing"}),))


def _fails(skill: str, result: dict[str, Any]) -> dict[str, Any]:
    raise SkillFailed(f"{skill} could not work on this picture.")


def _blind(skill: str, result: dict[str, Any]) -> dict[str, Any]:
    """The same result with nothing found in it, or with a wrong word."""
    empty: dict[str, Any] = {
        name: [] for name in ("boxes", "logits", "phrases", "masks_rle", "texts", "scores") if name in result
    }
    return result | empty | ({"caption": "nothing"} if "caption" in result else {})


@pytest.mark.parametrize(
    ("row", "planner", "skills", "plan", "fault"),
    [
        ("tagging", _instead("easyocr", of="ram"), None, "another call", "planner: another call"),
        ("tagging", _silent, None, "no call", "planner: no call"),
        ("detection", _sentence, None, "other arguments", "planner: other arguments"),
        ("tagging", _wordless, None, "right", "planner: its words"),
        ("detection", None, _fails, "right", "skill: failed"),
        ("segment_inpaint", None, _fails, "right", "skill: failed"),
        ("detection", None, _blind, "right", "skill: its result"),
        ("caption", None, _blind, "right", "skill: its result"),
        ("instance_segmentation", None, _blind, "right", "skill: its result"),
        ("ocr", None, _blind, "right", "skill: its result"),
        ("generate_post", _wordless, None, "right", "planner: its words"),
        ("conversation", _silent, None, "right", "planner: its words"),
    ],
)
async def test_a_planners_faults_are_told_from_those_of_skills(
    row: str, planner: Any, skills: Any, plan: str, fault: str, tmp_path: Path
) -> None:
    records = await asked(tmp_path, row, planner=planner, skills=skills)
    assert len(records) >= 4
    assert {(record["plan"], record["fault"]) for record in records} == {(plan, fault)}, records
    assert all(record["wrong"] for record in records)


async def test_a_painter_that_paints_something_else_is_at_fault_and_not_the_planner(tmp_path: Path) -> None:
    def badly(skill: str, result: dict[str, Any]) -> dict[str, Any]:
        return result | ({"boxes": [], "logits": [], "phrases": []} if skill == "grounding_dino" else {})

    records = await asked(tmp_path, "generation", skills=badly)
    assert {(record["plan"], record["fault"]) for record in records} == {("right", "skill: its result")}
    assert all(record["wrong"].startswith("the picture shows no") for record in records)


async def test_a_planner_that_mends_its_call_is_right(tmp_path: Path) -> None:
    tried = set[str]()

    def first_wrongly(question: str, output: PlannerOutput) -> PlannerOutput:
        if question in tried or not output.actions:
            return output
        tried.add(question)
        return PlannerOutput(actions=(Action(API_name="ram_pro", API_params={}),))

    records = await asked(tmp_path, "tagging", planner=first_wrongly, at_once=1)
    assert {(record["plan"], record["wrong"]) for record in records} == {("right", "")}
    assert any(record["failed"] == ["ram_pro: unknown_skill"] for record in records)


class Away:
    """A platform that does not answer the first times; `error` is what it does instead."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.asked = error, times, 0

    async def upload(self, data: bytes, name: str = "picture.png") -> str:
        return "img_" + "a" * 40

    async def picture(self, handle: str) -> bytes:
        raise AssertionError("no picture was made")

    async def tool(self, name: str, image: str | None, arguments: Any) -> dict[str, Any]:
        raise AssertionError("no picture was made")

    async def chat(
        self, text: str, parts: Any = (), *, session: Any = None, earlier: Any = (), mode: Any = None
    ) -> Reply:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return Reply(answer="a sentence", session="s")


@pytest.mark.parametrize(("error", "times"), [(PlatformGone("gone"), 2), (CannotAnswer("503"), 1)])
async def test_a_platform_that_comes_back_is_asked_again(error: Exception, times: int, tmp_path: Path) -> None:
    wanted = [dialogue for dialogue in made() if dialogue.row == "caption"][:1]
    away, journal = Away(error, times), Journal(tmp_path / "asked.jsonl", {})
    await ask_jobs([Job(wanted[0], away, journal)], scenes(), pauses_s=(0.0, 0.0))
    (record,) = answered(wanted, journal)
    assert (record["answer"], away.asked) == ("a sentence", times + 1)


async def test_a_question_that_never_gets_an_answer_counts_as_refused_and_the_others_go_on(tmp_path: Path) -> None:
    wanted = [dialogue for dialogue in made() if dialogue.row == "caption"][:2]
    away, journal = Away(CannotAnswer("The planner took too long."), 2), Journal(tmp_path / "asked.jsonl", {})
    await ask_jobs([Job(dialogue, away, journal) for dialogue in wanted], scenes(), pauses_s=(0.0, 0.0, 0.0))
    records = answered(wanted, journal)
    assert sorted(record["fault"] for record in records) == ["planner: no call", "platform: no answer"]
    refused = next(record for record in records if record["fault"] == "platform: no answer")
    assert refused["wrong"] == "refused: The planner took too long."


async def test_a_platform_that_stays_away_ends_the_run_and_scores_nothing(tmp_path: Path) -> None:
    wanted = [dialogue for dialogue in made() if dialogue.row == "caption"]
    journal = Journal(tmp_path / "asked.jsonl", {})
    away = Away(PlatformGone("http://gateway cannot be reached"), 99)
    with pytest.raises(PlatformGone):
        await ask_jobs([Job(dialogue, away, journal) for dialogue in wanted], scenes(), pauses_s=(0.0,))
    assert answered(wanted, journal) == []


async def test_a_result_of_an_unknown_form_is_one_wrong_answer_and_no_end(tmp_path: Path) -> None:
    wanted = [dialogue for dialogue in made() if dialogue.row == "instance_segmentation"][:1]

    class Odd(Away):
        async def chat(self, text: str, *given: Any, **more: Any) -> Reply:
            step = {"actions": [], "results": [{"skill": "sam", "result": {"masks_rle": [{"size": [4, 4]}]}}]}
            return Reply(answer="Here.", session="s", steps=[step])

    journal = Journal(tmp_path / "asked.jsonl", {})
    await ask_jobs([Job(wanted[0], Odd(PlatformGone(""), 0), journal)], scenes(), pauses_s=())
    (record,) = answered(wanted, journal)
    assert record["wrong"].startswith("cannot be checked: ValidationError")


async def test_a_run_that_is_cut_has_asked_of_all_rows_and_of_all_platforms_alike(tmp_path: Path) -> None:
    wanted = [dialogue for dialogue in made() if dialogue.row in ("caption", "tagging", "ocr", "detection")]
    one, other = (Journal(tmp_path / f"{name}.jsonl", {}) for name in ("one", "other"))
    away = Away(PlatformGone(""), 0)
    jobs = [Job(dialogue, away, journal) for journal in (one, other) for dialogue in wanted]
    await ask_jobs(jobs, scenes(), until=lambda: away.asked >= 12)
    assert one.results.keys() == other.results.keys()
    assert len({record["row"] for record in one.results.values()}) >= 3
