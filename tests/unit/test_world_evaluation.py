"""`eval world` and `eval mistakes` from end to end: reports, what a cut or another platform does to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from deploy import world_evaluation
from planner.api import Planner
from planner.eval.command import EvaluationError, PlannerChoice
from planner.eval.gateway import PlatformGone
from planner.eval.journal import JournalError
from planner.eval.mistakes import PLAN_MISTAKES, SKILL_MISTAKES
from planner.eval.world import run
from planner.eval.world.questions import dialogues
from planner.eval.world.turns import Dialogue, Scenes
from services.embedded.world.concepts import TRAIN_STYLES
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene, scene_rng
from tests.world_platform import true_platform
from tests.world_sprites import shapes_atlas

ROWS = ("tagging", "ocr", "segment_inpaint", "mixed_turns", "detection")


@lru_cache(maxsize=1)
def questions() -> tuple[list[Dialogue], Scenes]:
    scenes = Scenes(lambda number: render(sample_scene(scene_rng(5, number), TRAIN_STYLES[:2]), atlas=shapes_atlas()))
    return [dialogue for dialogue in dialogues(scenes, 2) if dialogue.row in ROWS], scenes


@pytest.fixture(autouse=True)
def platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find a platform that knows the truth, at every address."""

    async def made(each: int) -> tuple[list[Dialogue], Scenes]:
        return questions()

    @asynccontextmanager
    async def planner(choice: PlannerChoice, pictures: Any = None) -> AsyncIterator[Planner]:
        yield true_platform(*questions())[2]

    monkeypatch.setattr(world_evaluation, "_questions", made)
    monkeypatch.setattr(world_evaluation, "GatewayClient", lambda url: true_platform(*questions())[0])
    monkeypatch.setattr(world_evaluation, "opened_planner", planner)


async def score(folder: Path, said: list[str] | None = None, **more: Any) -> Path:
    given: dict[str, Any] = {"each": 2, "mode": None, "at_once": 3, "minutes": None, "fresh": False}
    heard = said if said is not None else []
    return await world_evaluation.score_world("http://x", folder=folder, say=heard.append, **(given | more))


async def test_the_report_says_row_by_row_what_is_right_whose_fault_the_rest_is_and_what_was_asked_for(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    page = (await score(tmp_path, said)).read_text(encoding="utf-8")
    total = sum(len(dialogue.turns) for dialogue in questions()[0])
    assert any(
        line.startswith(f"Asked: {total} of {total} questions. Right, of those asked: {total}/{total}") for line in said
    )
    assert any(" left" in line for line in said) or said[-2].startswith(f"{len(questions()[0])} of")
    assert f"| 500 questions | {total} | **no** |" in page
    assert "| 20 of each row | 0 (semantic segmentation) | **no** |" in page
    assert f"| 80% right | {total}/{total}, 100%" in page
    assert "| tagging | 2/2, 100% (34 to 100) (fewer than 20) | 2/2, 100% (34 to 100) |" in page
    data = json.loads((tmp_path / "world.json").read_text())
    assert data["planner_right"]["share"] == 1.0
    assert data["asked_for"]["80% right"]["met"] is True
    assert data["rows"]["ocr"]["faults"] == {}


async def test_what_was_answered_is_reported_when_the_platform_goes_away_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.ask_jobs

    async def cut(jobs: Any, scenes: Scenes, **more: Any) -> None:
        await whole(jobs[:3], scenes, **more)
        raise PlatformGone("http://x cannot be reached (ConnectError): is the platform up?")

    monkeypatch.setattr(run, "ask_jobs", cut)
    with pytest.raises(EvaluationError, match=r"is the platform up.*the same command goes on from there"):
        await score(tmp_path)
    page = (tmp_path / "world.md").read_text(encoding="utf-8")
    assert "Not asked yet: " in page
    monkeypatch.setattr(run, "ask_jobs", whole)
    assert "Not asked yet" not in (await score(tmp_path)).read_text(encoding="utf-8")


async def test_answers_to_other_questions_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await score(tmp_path)

    async def others(each: int) -> tuple[list[Dialogue], Scenes]:
        made, scenes = questions()
        return made[1:], scenes

    monkeypatch.setattr(world_evaluation, "_questions", others)
    with pytest.raises(JournalError, match="other settings"):
        await score(tmp_path)


async def test_mistakes_are_made_in_the_same_turns_and_their_cost_is_told(tmp_path: Path) -> None:
    choice = PlannerChoice("http://planner/v1", "true")
    said: list[str] = []
    path = await world_evaluation.score_mistakes(choice, "http://x", 2, [], tmp_path, 4, None, False, said.append)
    page, data = path.read_text(encoding="utf-8"), json.loads((tmp_path / "mistakes.json").read_text())
    total = sum(len(dialogue.turns) for dialogue in questions()[0])
    kinds = data["kinds"]
    assert kinds.keys() == {"none", *PLAN_MISTAKES, *SKILL_MISTAKES}
    assert all(kind["turns"] == total for kind in kinds.values())
    assert kinds["none"]["endings"]["right at once"] == total
    assert kinds["unknown_skill"]["met"] == total
    assert kinds["unknown_skill"]["endings"]["right after a repair"] == total
    assert kinds["fails_always"]["endings"]["wrong, and says so"] == kinds["fails_always"]["met"] == total
    assert f"| unknown skill | {total} of {total} | {total}/{total}" in page
    assert said[-1].startswith(f"{11 * len(questions()[0])} of {11 * len(questions()[0])}")


async def test_an_unknown_kind_of_mistake_is_named(tmp_path: Path) -> None:
    choice = PlannerChoice("http://planner/v1", "true")
    with pytest.raises(EvaluationError, match="--kinds nonsense"):
        await world_evaluation.score_mistakes(choice, "http://x", 2, ["nonsense"], tmp_path, 1, None, False, print)
