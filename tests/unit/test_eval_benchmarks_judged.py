"""Runners of published benchmarks that a judge grades, on small files of the same formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from planner.eval.benchmarks.run import Run
from planner.eval.benchmarks.tables import collected, tables
from planner.eval.benchmarks.visit_bench import Battle, elo
from planner.eval.command import EvaluationError
from tests.benchmark_files import answers, judge, lines, picture
from tests.judge_server import text_of


def llava_bench(folder: Path, categories: Sequence[str]) -> None:
    items = [
        {"question_id": n, "image": "1.png", "text": f"Question {n}?", "category": c} for n, c in enumerate(categories)
    ]
    lines(folder / "questions.jsonl", items)
    lines(folder / "answers_gpt4.jsonl", [{"question_id": n, "text": f"Reference {n}"} for n in range(len(items))])
    lines(folder / "context.jsonl", [{"id": 0, "image": "1.png", "caption": ["A dog.", "On grass."]}])
    rules = {f"llava_bench_{name}": {"role": "Assistant", "prompt": f"Rate {name}."} for name in categories}
    (folder / "rule.json").write_text(json.dumps(rules))
    picture(folder, "1.png")


async def test_llava_bench_puts_the_reference_first_and_gives_its_share(tmp_path: Path) -> None:
    llava_bench(tmp_path, ["conv", "conv", "detail"])
    given = answers(tmp_path, {"0": "good", "1": "bad", "2": "good"})

    def says(body: dict[str, Any]) -> str:
        text = text_of(body)
        assert text.index("Reference") < text.index("[Assistant 2]")
        assert "A dog.\nOn grass." in text
        assert body["temperature"] == 0.0
        return "8 6\nThe second is fine." if "good" in text else "8, 2\nNo."

    async with judge(says, tmp_path / "judge.jsonl") as (second, server):
        run = Run("llava-bench-wild", "LLaVA-Plus (Fly)", tmp_path, tmp_path / "out", given=given, judge=second)
        scores = await run.scored()
        assert scores["scores"]["conv"]["relative"] == pytest.approx(50)
        assert scores["scores"]["all"]["relative"] == pytest.approx(100 * (14 / 3) / 8)
        assert len(server.asked) == 3
        await run.scored()
        assert len(server.asked) == 3, "judgements are kept"
    page = tables(collected(tmp_path / "out"))
    assert "### Table 4a: LLaVA-Bench (In-the-Wild)" in page
    assert "| LLaVA-Plus (Fly) | 50.0 | 75.0 | - | 58.3 |" in page


async def test_llava_bench_coco_shows_the_judge_captions_and_boxes(tmp_path: Path) -> None:
    lines(
        tmp_path / "qa90_questions.jsonl",
        [{"question_id": 7, "image": "000000001.png", "text": "What?", "category": "complex"}],
    )
    lines(tmp_path / "qa90_gpt4_answer.jsonl", [{"question_id": 7, "text": "Reference"}])
    context = {
        "image": "000000001.png",
        "captions": ["A cat."],
        "instances": [{"category": "cat", "bbox": [1, 2, 3, 4]}],
    }
    lines(tmp_path / "caps_boxes_coco2014_val_80.jsonl", [context])
    (tmp_path / "rule.json").write_text(json.dumps({"complex": {"role": "Assistant", "prompt": "Rate."}}))
    picture(tmp_path, "COCO_val2014_000000001.png")
    async with judge(lambda body: "10 9", tmp_path / "judge.jsonl") as (second, server):
        run = Run("llava-bench-coco", "x", tmp_path, tmp_path / "out", answers(tmp_path, {"7": "a"}), judge=second)
        assert (await run.scored())["scores"]["all"]["relative"] == pytest.approx(90)
        assert "A cat.\n\ncat: [1, 2, 3, 4]" in text_of(server.asked[0])


async def test_a_review_that_cannot_be_read_is_asked_for_again_and_then_left_out(tmp_path: Path) -> None:
    llava_bench(tmp_path, ["ocr"])
    async with judge(lambda body: "I would say 7.", tmp_path / "judge.jsonl") as (second, server):
        run = Run("llava-bench-tools", "x", tmp_path, tmp_path / "out", answers(tmp_path, {"0": "a"}), judge=second)
        assert await run.scored() == {"scores": {}, "unread": 1}
        assert len(server.asked) == 3


async def test_a_busy_judge_is_asked_again_and_a_refusing_one_is_an_error(tmp_path: Path) -> None:
    replies: list[Any] = [429, 503, "fine"]
    async with judge(lambda body: replies.pop(0), tmp_path / "a.jsonl") as (second, _):
        assert await second.text([{"role": "user", "content": "?"}]) == "fine"
    async with judge(lambda body: 401, tmp_path / "b.jsonl") as (second, server):
        with pytest.raises(EvaluationError, match="401"):
            await second.text([{"role": "user", "content": "?"}])
        assert len(server.asked) == 1


async def test_mm_vet_means_grades_by_capability_over_several_runs(tmp_path: Path) -> None:
    items = {
        "v1_0": {"imagename": "1.png", "question": "What?", "answer": "a<AND>b", "capability": ["ocr", "math"]},
        "v1_1": {"imagename": "1.png", "question": "Who?", "answer": "c<OR>d", "capability": ["ocr"]},
    }
    (tmp_path / "mm-vet.json").write_text(json.dumps(items))
    (tmp_path / "prompt.txt").write_text("GRADE THIS")
    picture(tmp_path, "1.png")
    seen: list[str] = []

    def says(body: dict[str, Any]) -> str:
        text = text_of(body)
        assert text.startswith("GRADE THIS\n")
        seen.append(text)
        if "Who? | c <OR> d | yes |" in text:
            return "0.5"
        assert "What? | a <AND> b | no |" in text
        return "unclear" if "Predict the correctness" not in text else "1.0 of course"

    async with judge(says, tmp_path / "judge.jsonl") as (second, server):
        given = answers(tmp_path, {"v1_0": "no", "v1_1": "yes"})
        run = Run("mm-vet", "LLaVA-Plus (All Tools)", tmp_path, tmp_path / "out", given, judge=second, repeats=2)
        scores = await run.scored()
    assert scores["scores"] == {"ocr": 75.0, "math": 100.0, "total": 75.0}
    assert scores["deviation"] == 0
    assert scores["runs"] == [75.0, 75.0]
    assert len(server.asked) == 6
    assert "| LLaVA-Plus (All Tools) | - | 75.0 | - | - | - | 100.0 | 75.0 ± 0.0 |" in tables(
        collected(tmp_path / "out")
    )


def visit_bench(folder: Path) -> None:
    head = ["instruction_category", "image_url", "instruction", "instruction_conditioned_caption", "reference_output"]
    with (folder / "visit_bench_single_image.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*head, "other prediction"])
        table.writeheader()
        for number in range(2):
            row = ["animals", "https://host/1.png", f"Tell {number}.", "A dog, in short.", "reference text"]
            table.writerow(dict(zip([*head, "other prediction"], [*row, "their text"], strict=True)))
    picture(folder, "1.png")


async def test_visit_bench_judges_both_orders_and_a_liking_for_a_place_is_a_tie(tmp_path: Path) -> None:
    visit_bench(tmp_path)
    given = answers(tmp_path, {"0": "our text", "1": "our text"})
    async with judge(lambda body: "First is better.\nWinner: A", tmp_path / "a.jsonl") as (second, _):
        biased = await Run("visit-bench", "ours", tmp_path, tmp_path / "a", given, judge=second).scored()
    assert biased["elo"] == pytest.approx(1000)
    assert biased["win"]["right"] == 0

    def prefers(body: dict[str, Any]) -> str:
        text = text_of(body)
        first, last = text.split("Response B:")
        return "Winner: A" if "our text" in first else "Winner: B" if "our text" in last else "Winner: tie"

    async with judge(prefers, tmp_path / "c.jsonl") as (second, _):
        scores = await Run("visit-bench", "ours", tmp_path, tmp_path / "c", given, judge=second).scored()
    assert scores["elo"] > 1000
    assert scores["matches"] == 2
    assert scores["win"]["share"] == 1
    assert "| ours |" in tables(collected(tmp_path / "c"))


def test_elo_ratings_are_those_of_the_formula_and_keep_their_sum() -> None:
    ratings = elo([Battle("a", "b", 1.0)], k=4)
    assert ratings == {"a": 1002.0, "b": 998.0}
    many = elo([Battle("a", "b", 1.0)] * 20 + [Battle("b", "c", 1.0)] * 20, k=4)
    assert many["a"] > many["b"] > many["c"]
    assert sum(many.values()) == pytest.approx(3000)


def science_qa(folder: Path) -> None:
    problem = {"choices": ["red", "blue"], "hint": "", "image": None, "grade": "grade3", "subject": "natural science"}
    problems = {
        "1": problem | {"question": "Which colour?", "answer": 0},
        "2": problem | {"question": "Which sky?", "answer": 1, "hint": "Day.", "grade": "grade8"},
        "3": problem | {"question": "Which sea?", "answer": 1, "image": "image.png", "subject": "social science"},
    }
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps({"train": [], "test": ["1", "2", "3"]}))
    (folder / "images" / "test" / "3").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / "test" / "3" / "image.png")


async def test_science_qa_joins_two_models_in_both_ways(tmp_path: Path) -> None:
    science_qa(tmp_path)
    given = answers(tmp_path, {"1": "So. The answer is A.", "2": "Hm. The answer is A.", "3": "The answer is B."})

    def says(body: dict[str, Any]) -> str:
        text = text_of(body)
        assert '"image_url"' not in json.dumps(body)
        if "Two answers were given" in text:
            assert "Which sky?" in text or "Which sea?" in text
            return "The answer is B."
        if "Which colour?" in text:
            return "The answer is A."
        return "The answer is B." if "Which sky?" in text else "I cannot see it."

    async with judge(says, tmp_path / "judge.jsonl") as (second, server):
        scores = await Run("science-qa", "LLaVA", tmp_path, tmp_path / "out", given, judge=second).scored()
    assert scores["scores"]["Average"]["right"] == 2
    ensembles = {name: parts["scores"]["Average"]["right"] for name, parts in scores["ensembles"].items()}
    assert ensembles["LLaVA + judge-1 (complement)"] == 3
    assert ensembles["LLaVA + judge-1 (judge)"] == 3
    assert scores["judged"] == 2
    assert len(server.asked) == 5
    columns = scores["scores"]
    assert (columns["NAT"]["total"], columns["SOC"]["total"], columns["TXT"]["total"]) == (2, 1, 1)
    assert (columns["IMG"]["total"], columns["NO"]["total"], columns["G7-12"]["total"]) == (1, 1, 1)
    assert "| LLaVA + judge-1 (judge) | 100.00 |" in tables(collected(tmp_path / "out"))
