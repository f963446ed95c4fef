"""The evaluation as a whole: what is scored, what is kept, what the report says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.profile import load_profile
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.embedded.eval import command, evaluate, report, skills
from services.embedded.eval.command import EvalRequest, EvaluationError, run
from services.embedded.eval.results import Latency, SkillResult, SplitResult, Store, known
from services.embedded.eval.scorer import Scorer, ScoringFailed, Table, scorer_of
from services.embedded.eval.sheet import WIDTH
from services.embedded.eval.skills import EMBEDDED, Setup, Skills, checkpoints_of
from services.embedded.eval.splits import Split
from services.embedded.eval.targets import FIGURES, IN_STYLE, SKILLS, UNSEEN
from services.skills.grounded_sam import GroundedSamArgs
from services.skills.sam import SamArgs
from tests.eval_oracle import Oracle, scenes, split
from tests.tiny import grounding_dino as tiny_dino
from tests.tiny import sam as tiny_sam

GREY = Image.new("RGB", (256, 256), (120, 120, 120))
SAM = SkillResult(
    "sam",
    "signed",
    {
        IN_STYLE: SplitResult(
            {"miou_boxes": 0.9, "miou_point": 0.7},
            {"scenes": 500, "objects": 1600},
            [Table("Hardest", ("what", "IoU"), [("key", "0.21")])],
            "sam-in-style.webp",
        ),
        UNSEEN: SplitResult({"miou_boxes": 0.8}, {"scenes": 200}, [], ""),
    },
    Latency(312.0, 15, 2, 2),
    12.5,
)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of published checkpoints."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for module in (skills, report):
        monkeypatch.setattr(module, "weights_folder", lambda: folder)
    monkeypatch.setattr("services.embedded.training.publish.weights_folder", lambda: folder)
    monkeypatch.setattr("services.embedded.eval.results.weights_folder", lambda: folder)
    return folder


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> list[Split]:
    """Two small splits in the place of the held-out scenes."""
    splits = [split(scenes(4)), split(scenes(3, 20), UNSEEN, painted=2)]
    monkeypatch.setattr(command, "held_out", lambda *_: splits)
    return splits


def publish(weights: Path, name: str) -> None:
    (weights / name).mkdir()
    card = {"name": name, "samples": 128_000, "minutes": 44.6, "dev": {"iou_point": 0.91}, "licence": "Apache-2.0"}
    (weights / name / "model_card.json").write_text(json.dumps(card))
    (weights / name / "model.safetensors").write_bytes(bytes(1_500_000))
    (weights / name / "curve.png").write_bytes(b"")


def rows_in(page: str, skill: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(f"| {skill} |")]


# What is there


def test_every_figure_has_a_floor_below_its_target() -> None:
    assert len({(figure.skill, figure.key) for figure in FIGURES}) == len(FIGURES) == 19
    assert all(0 < figure.floor <= figure.target <= 1 for figure in FIGURES)


def test_every_skill_of_the_table_is_configured() -> None:
    assert set(EMBEDDED) == {part for skill in SKILLS for part in skills.parts_of(skill)}
    assert checkpoints_of(["controlnet", "grounding_dino+sam"]) == [
        "controlnet",
        "stable_diffusion",
        "grounding_dino",
        "sam",
    ]


def test_the_embedded_profile_serves_what_is_scored() -> None:
    for application in load_profile("embedded").applications:
        for name, config in application.skills.items():
            if name in EMBEDDED and config.checkpoint is not None:
                assert (config.checkpoint, config.options) == (EMBEDDED[name].checkpoint, dict(EMBEDDED[name].options))


# What runs


def test_without_checkpoints_every_skill_has_a_row_that_says_so(
    weights: Path, world: list[Split], tmp_path: Path
) -> None:
    lines: list[str] = []

    page = run(EvalRequest(only=("sam",), runs=tmp_path / "runs"), lines.append).read_text()

    assert "sam: not trained yet" in lines
    assert "easyocr: not scored in this run" in lines
    assert all("not trained yet" in row for row in rows_in(page, "sam")[:2])
    assert all("not scored in this run" in row for row in rows_in(page, "easyocr")[:1])


def test_a_painter_is_not_scored_before_its_judges(weights: Path) -> None:
    publish(weights, "stable_diffusion")

    row = report.missing_row("stable_diffusion", ["stable_diffusion", *scorer_of("stable_diffusion").judges])

    assert row is not None
    assert row.why_not == "cannot be judged: grounding_dino, clip not trained yet"


def scored(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Scorer], dict[str, float]]) -> list[str]:
    """Put the scoring itself aside; the list gets the names of what is scored."""
    asked: list[str] = []

    def evaluated(scorer: Scorer, splits: Any, folder: Path, sign: str, told: Any) -> SkillResult:
        asked.append(scorer.skill)
        found = SplitResult(answer(scorer), {"scenes": 4}, [], "")
        return SkillResult(scorer.skill, sign, {IN_STYLE: found}, Latency(20.0, 3, 2, 2), 1.0)

    monkeypatch.setattr(command, "evaluated", evaluated)
    return asked


def test_what_was_scored_is_not_scored_again_until_its_weights_change(
    weights: Path, world: list[Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(weights, "sam")
    asked = scored(monkeypatch, lambda scorer: {"miou_boxes": 0.9})
    request = EvalRequest(only=("sam",), runs=tmp_path)

    for _ in range(2):
        run(request, str)
    assert asked == ["sam"]

    (weights / "sam" / "model.safetensors").write_bytes(b"better")
    run(request, str)
    assert asked == ["sam", "sam"]

    run(EvalRequest(only=("sam",), runs=tmp_path, fresh=True), str)
    assert asked == ["sam"] * 3


def test_other_skills_keep_what_was_found_before(
    weights: Path, world: list[Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(weights, "sam")
    publish(weights, "ram")
    asked = scored(monkeypatch, lambda scorer: {"f1": 0.87, "miou_boxes": 0.91})

    run(EvalRequest(only=("sam",), runs=tmp_path), str)
    page = run(EvalRequest(only=("ram",), runs=tmp_path), str).read_text()

    assert asked == ["sam", "ram"]
    assert "0.870" in rows_in(page, "ram")[0]
    assert "0.910" in rows_in(page, "sam")[0]


def test_a_skill_that_fails_leaves_the_others_their_rows(
    weights: Path, world: list[Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(scorer: Scorer) -> dict[str, float]:
        if scorer.skill == "sam":
            raise ScoringFailed("sam: it broke")
        return {"f1": 0.87}

    publish(weights, "sam")
    publish(weights, "ram")
    scored(monkeypatch, answer)

    with pytest.raises(EvaluationError, match="sam: it broke"):
        run(EvalRequest(only=("sam", "ram"), runs=tmp_path), str)

    page = (tmp_path / "eval" / "docs" / "embedded.md").read_text()
    assert "failed" in rows_in(page, "sam")[0]
    assert "0.870" in rows_in(page, "ram")[0]


def test_an_unknown_skill_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["embedded", "eval", "--only", "sketching"])

    assert "sketching" in str(result.exception)
    assert "grounding_dino+sam" in str(result.exception)


def test_a_skill_is_scored_on_the_splits_it_has_and_its_sheets_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = [split(scenes(4)), split(scenes(3, 20), UNSEEN)]
    known_scenes = [drawn for part in splits for drawn in part.scenes]

    class Asked(Oracle):
        def seconds(self, name: str, call: SkillCall[Any]) -> float:
            self.ask(name, [call], 1)
            return 0.04

        def close(self) -> None: ...

    monkeypatch.setattr(evaluate, "Skills", lambda report: Asked(known_scenes))

    result = evaluate.evaluated(scorer_of("ram"), splits, tmp_path, "signed")

    assert result.splits[IN_STYLE].figures["f1"] == result.splits[UNSEEN].figures["f1"] == 1.0
    assert result.latency.median_ms == 40.0
    for found in result.splits.values():
        with Image.open(tmp_path / found.sheet) as page:
            assert page.width == WIDTH


# The skills themselves


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Setup]:
    folder = tmp_path_factory.mktemp("tiny")
    return {
        "grounding_dino": Setup(tiny_dino.make(folder / "grounding_dino"), batch=2),
        "sam": Setup(tiny_sam.make(folder / "sam"), batch=2),
    }


def test_skills_answer_in_order_and_composites_run_their_parts(tiny: dict[str, Setup]) -> None:
    asked = Skills(tiny)
    boxes = [((0.1, 0.1, 0.5, 0.5),), ((0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 0.4, 0.4)), ()]
    try:
        cut = asked.ask("sam", (SkillCall(SamArgs(boxes=box), {Symbol.IMAGE: GREY}) for box in boxes), 3)
        args = GroundedSamArgs(caption="dog . red cart", box_threshold=0.0)
        (grounded,) = asked.ask("grounding_dino+sam", [SkillCall(args, {Symbol.IMAGE: GREY})], 1)
        seconds = asked.seconds("sam", SkillCall(SamArgs(boxes=boxes[0]), {Symbol.IMAGE: GREY}))
    finally:
        asked.close()

    assert [len(result.masks_rle) for result in cut] == [1, 2, 0]
    assert len(grounded.masks_rle) == len(grounded.boxes) > 0
    assert 0 < seconds < 60


def test_an_error_of_a_skill_ends_its_scoring(tiny: dict[str, Setup]) -> None:
    asked = Skills(tiny)
    try:
        with pytest.raises(ScoringFailed, match="sam: Give either boxes or points"):
            asked.ask("sam", [SkillCall(SamArgs(), {Symbol.IMAGE: GREY})], 1)
        empty = GroundedSamArgs(caption=" . ")
        with pytest.raises(ScoringFailed, match="caption names nothing"):
            asked.ask("grounding_dino+sam", [SkillCall(empty, {Symbol.IMAGE: GREY})], 1)
    finally:
        asked.close()


# Results


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "sam-in-style.webp").write_bytes(b"a sheet")
    Store(tmp_path).save(SAM)

    assert Store(tmp_path).load("sam") == SAM
    assert Store(tmp_path).load("ram") is None


def test_a_result_that_cannot_be_shown_or_read_is_found_again(tmp_path: Path) -> None:
    Store(tmp_path).save(SAM)
    assert Store(tmp_path).load("sam") is None, "its sheet is gone"

    (tmp_path / "sam-in-style.webp").write_bytes(b"a sheet")
    path = Store(tmp_path).path("sam")
    written = path.read_text()
    others = ["", "[]", written[:200], written.replace('"calls"', '"asked"'), written.replace('"sheet"', '"page"')]
    for other in others:
        path.write_text(other)
        assert Store(tmp_path).load("sam") is None


def test_a_report_carries_its_results_to_another_machine(weights: Path, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.save(SAM)
    (here.folder / "sam-in-style.webp").write_bytes(b"a sheet")
    report.write(tmp_path / "docs", [report.Row("sam", SAM)], here.folder)

    there.adopt(tmp_path / "docs" / report.PICTURES)

    assert there.load("sam") == SAM
    there.path("sam").write_text("{}")
    there.adopt(tmp_path / "docs" / report.PICTURES)
    assert there.load("sam") is None, "what was found here comes first"
    there.adopt(tmp_path / "nowhere")


def test_figures_without_a_case_are_left_out() -> None:
    assert known({"f1": 0.123456789, "words": float("nan")}) == {"f1": 0.123457}


# The report


def test_the_report_says_what_is_reached(weights: Path, tmp_path: Path) -> None:
    publish(weights, "sam")
    docs = tmp_path / "docs"
    (tmp_path / "sam-in-style.webp").write_bytes(b"a sheet")

    page = report.write(docs, [report.Row("sam", SAM), report.Row("ram", None, "not trained yet")], tmp_path)

    text = page.read_text()
    boxes, point, *_ = rows_in(text, "sam")
    assert "| 0.900 | 0.800 | 0.85 | 0.93 | floor | 500 scenes, 1600 objects |" in boxes
    assert "| 0.700 | - | 0.75 | 0.88 | **no** |" in point
    assert "| sam | mIoU from one point | 0.700 | 0.75 | 128 thousand samples, 45 minutes | not by more" in text
    assert "| sam | 312 ms | 300 ms | **no** |" in text
    assert "2 threads of torch on 2 cores" in text
    assert "| sam | 128,000 | 45 | 1.5 MB | iou_point 0.91 | [curve](../weights/sam/curve.png) |" in text
    assert "| key | 0.21 |" in text
    assert (docs / "embedded" / "sam-in-style.webp").read_bytes() == b"a sheet"


def test_every_link_of_the_report_leads_somewhere(weights: Path, tmp_path: Path) -> None:
    publish(weights, "sam")
    for name in ("sam-in-style.webp", report.WORLD_SHEET):
        (tmp_path / name).write_bytes(b"a sheet")

    page = report.write(tmp_path / "docs", [report.Row("sam", SAM)], tmp_path)

    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert len(links) == 3
    assert all((page.parent / link).is_file() for link in links)


def test_exact_means_exact(weights: Path, tmp_path: Path) -> None:
    (figure,) = (figure for figure in FIGURES if figure.exact)

    assert report.verdict(figure, 1.0) == "target"
    assert report.verdict(figure, 0.999) == "**no**"
    assert report.verdict(figure, None) == "-"


def test_pictures_of_an_earlier_report_go_away(weights: Path, tmp_path: Path) -> None:
    old = tmp_path / "embedded" / "old.webp"
    old.parent.mkdir()
    old.write_bytes(b"")
    kept = old.with_name("notes.txt")
    kept.write_text("mine")

    report.write(tmp_path, [report.Row("ram", None, "not trained yet")], tmp_path)

    assert not old.exists()
    assert kept.exists()
