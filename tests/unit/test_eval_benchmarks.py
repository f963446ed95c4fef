"""Runners of published benchmarks, on small files of the same formats, with a judge on a local port."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from planner.eval.benchmarks.choices import chosen
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.gta import holds, word_f1
from planner.eval.benchmarks.run import NAMES, Run
from planner.eval.benchmarks.tables import collected, tables
from planner.eval.benchmarks.taskbench import planned, rouge_n
from planner.eval.benchmarks.visit_bench import Battle, elo
from planner.eval.command import EvaluationError
from planner.eval.gateway import GatewayClient
from tests.gateway_transport import chat_transport
from tests.judge_server import JudgeServer, Says, text_of
from tests.openai_server import serving


@asynccontextmanager
async def judge(says: Says, cache: Path) -> AsyncIterator[tuple[Endpoint, JudgeServer]]:
    server = JudgeServer(says)
    async with serving(server):  # type: ignore[arg-type]
        endpoint = Endpoint(server.url, "judge-1", cache, retry_s=0.001)
        try:
            yield endpoint, server
        finally:
            await endpoint.close()


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def picture(folder: Path, name: str) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / "images" / name)


def answers(folder: Path, texts: dict[str, str]) -> Path:
    path = folder / "given.json"
    path.write_text(json.dumps(texts))
    return path


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
    assert "### Table 4: LLaVA-Bench (In-the-Wild)" in page
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


def seed_bench(folder: Path) -> None:
    item = {"choice_a": "one", "choice_b": "two", "choice_c": "three", "choice_d": "four", "data_id": "1.png"}
    questions = [
        item
        | {"question_id": "q1", "question": "How many?", "answer": "B", "question_type_id": 5, "data_type": "image"},
        item | {"question_id": "q2", "question": "Which?", "answer": "A", "question_type_id": 1, "data_type": "image"},
        item | {"question_id": "v1", "question": "When?", "answer": "A", "question_type_id": 10, "data_type": "video"},
    ]
    types = {"Scene Understanding": 1, "Instances Counting": 5, "Action Recognition": 10}
    (folder / "SEED-Bench.json").write_text(json.dumps({"questions": questions, "question_type": types}))
    picture(folder, "1.png")


async def test_seed_bench_counts_letters_by_dimension_and_leaves_videos_out(tmp_path: Path) -> None:
    seed_bench(tmp_path)
    given = answers(tmp_path, {"q1": "The answer is B.", "q2": "Hard to say."})
    scores = await Run("seed-bench", "LLaVA", tmp_path, tmp_path / "out", given).scored()
    assert scores["scores"]["5"]["share"] == 1
    assert scores["scores"]["all"] == scores["scores"]["all"] | {"right": 1, "total": 2}
    assert scores["unread"] == 1
    assert "| LLaVA | 0.0 | - | - | - | 100.0 | - | - | - | - | 50.0 |" in tables(collected(tmp_path / "out"))


async def test_a_platform_answers_with_the_picture_and_a_cut_run_goes_on(tmp_path: Path) -> None:
    seed_bench(tmp_path)
    transport, bodies = chat_transport("B", [])
    async with GatewayClient("http://platform", transport=transport) as platform:
        run = Run("seed-bench", "x", tmp_path, tmp_path / "out", platform=platform, mode="all_tools")
        await run.scored()
        await run.scored()
    assert len(bodies) == 2
    parts = bodies[0]["messages"][0]["content"]
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "A. one\nB. two" in parts[1]["text"]
    assert bodies[0]["mode"] == "all_tools"


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("B", 1),
        ("(c) because", None),
        ("C. a red car", 2),
        ("The answer is D.", 3),
        ("answer: (a)", 0),
        ("It is a car.", 0),
        ("It is a red car.", 2),
        ("I do not know.", None),
        ("A or B? The answer is B.", 1),
        ("The answer is A. No, the answer is B.", None),
        ("E", None),
    ],
)
def test_what_an_answer_chooses(answer: str, index: int | None) -> None:
    assert chosen(answer, ["a car", "a dog", "a red car", "nothing"]) == index


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
    assert "| LLaVA + judge-1 (judge) | 100.0 |" in tables(collected(tmp_path / "out"))


def gta(folder: Path) -> None:
    def calls(name: str, **arguments: Any) -> dict[str, Any]:
        return {"tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}]}

    inputs = [{"name": "image", "type": "image", "description": None, "optional": False}]
    dialogs = [
        {"role": "user", "content": "What does it cost?"},
        {"role": "assistant", "thought": "Read it.", **calls("OCR", image="image/1.png")},
        {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "5 dollars"}},
        {"role": "assistant", "content": "It costs 5 dollars."},
    ]
    sample = {
        "tools": [{"name": "OCR", "description": "Reads.", "inputs": inputs, "outputs": []}],
        "files": [{"type": "image", "path": "image/1.png", "url": None}],
        "dialogs": dialogs,
        "gt_answer": {"whitelist": [["5", "five"]], "blacklist": None},
    }
    (folder / "dataset.json").write_text(json.dumps({"0": sample}))
    picture(folder, "1.png")


async def test_gta_step_by_step_gives_the_true_turns_and_scores_the_next(tmp_path: Path) -> None:
    gta(tmp_path)

    def says(body: dict[str, Any]) -> str | dict[str, Any]:
        assert body["tools"][0]["function"]["parameters"]["required"] == ["image"]
        if body["messages"][-1]["role"] == "tool":
            assert body["messages"][-1]["content"] == "5 dollars"
            assert body["messages"][-1]["tool_call_id"] == body["messages"][-2]["tool_calls"][0]["id"]
            return "Five dollars."
        function = {"name": "OCR", "arguments": '{"image": "image/2.png"}'}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "x", "type": "function", "function": function}],
        }

    async with judge(says, tmp_path / "model.jsonl") as (model, _):
        scores = await Run("gta", "x", tmp_path, tmp_path / "out", model=model).scored()
    assert (scores["InstAcc"], scores["ToolAcc"], scores["ArgAcc"], scores["SummAcc"]) == (100, 100, 0, 100)
    assert "| x | 100.0 | 100.0 | 0.0 | 100.0 |" in tables(collected(tmp_path / "out"))


async def test_gta_end_to_end_counts_the_skills_that_stand_for_its_tools(tmp_path: Path) -> None:
    gta(tmp_path)
    action = {"API_name": "easyocr", "API_params": {}}
    transport, _ = chat_transport("It is 5.", [{"kind": "plan", "actions": [action], "results": []}])
    async with GatewayClient("http://platform", transport=transport) as platform:
        scores = await Run("gta-end", "x", tmp_path, tmp_path / "out", platform=platform).scored()
    assert scores == {"AnsAcc": 100, "P. F1": 100, "O. F1": None, "L. F1": None, "C. F1": None}


def test_gta_answers_need_every_group_and_no_barred_word() -> None:
    wanted = {"whitelist": [["5", "five"], ["dollars"]], "blacklist": [["euros"]]}
    assert holds("Five dollars", wanted)
    assert not holds("Five", wanted)
    assert not holds("five dollars or euros", wanted)
    assert not holds("15 dollars", wanted)
    assert word_f1("a red car", "a blue car") == pytest.approx(2 / 3)


def taskbench(folder: Path) -> None:
    tools = [
        {"id": "Image-to-Text", "desc": "Describes.", "input-type": ["image"], "output-type": ["text"]},
        {"id": "Translation", "desc": "Translates.", "input-type": ["text"], "output-type": ["text"]},
    ]
    (folder / "tool_desc.json").write_text(json.dumps({"nodes": tools}))
    sample = {
        "id": "11",
        "user_request": "Describe example.jpg in French.",
        "type": "chain",
        "task_steps": ["Step 1: describe the image", "Step 2: translate the text"],
        "task_nodes": [
            {"task": "Image-to-Text", "arguments": ["example.jpg"]},
            {"task": "Translation", "arguments": ["<node-0>"]},
        ],
        "task_links": [{"source": "Image-to-Text", "target": "Translation"}],
    }
    lines(folder / "data.json", [sample])


async def test_taskbench_scores_steps_calls_links_and_arguments(tmp_path: Path) -> None:
    taskbench(tmp_path)
    plan = {
        "task_steps": ["describe the image", "translate the text"],
        "task_nodes": [
            {"task": "Image-to-Text", "arguments": ["other.jpg"]},
            {"task": "Translation", "arguments": ["<node-0>"]},
        ],
        "task_links": [],
    }
    given = answers(tmp_path, {"11": f"Here:\n```json\n{json.dumps(plan)}\n```"})
    scores = await Run("taskbench", "x", tmp_path, tmp_path / "out", given).scored()
    assert (scores["n-F1"], scores["e-F1"], scores["t-F1"], scores["v-F1"]) == (100, 100, 100, 50)
    assert 0 < scores["R2"] < scores["R1"] < 100
    empty = await Run("taskbench", "y", tmp_path, tmp_path / "y", answers(tmp_path, {"11": "no plan"})).scored()
    assert (empty["n-F1"], empty["unread"]) == (0, 1)


def test_taskbench_helpers() -> None:
    assert planned("nothing") is None
    assert planned('{"task_nodes": 3}') is None
    assert rouge_n("a b c", "a b d", 1) == pytest.approx(2 / 3)
    assert rouge_n("a b c", "a b d", 2) == pytest.approx(1 / 2)


async def test_what_is_missing_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"SEED-Bench\.json"):
        await Run("seed-bench", "x", tmp_path, tmp_path).scored()
    with pytest.raises(EvaluationError, match="--judge"):
        await Run("mm-vet", "x", tmp_path, tmp_path).scored()
    with pytest.raises(EvaluationError, match="Known: "):
        await Run("other", "x", tmp_path, tmp_path).scored()
    seed_bench(tmp_path)
    with pytest.raises(EvaluationError, match="Nobody answers"):
        await Run("seed-bench", "x", tmp_path, tmp_path).scored()
    with pytest.raises(EvaluationError, match="no answer to 1 questions, for example q2"):
        await Run("seed-bench", "x", tmp_path, tmp_path, answers(tmp_path, {"q1": "A"})).scored()
    assert tables({}) == "No scores yet.\n"
    assert len(NAMES) == 10
