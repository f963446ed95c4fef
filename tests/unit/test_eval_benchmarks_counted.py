"""Runners of published benchmarks that count letters, calls and words, on small files of the same formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.eval.benchmarks.choices import chosen
from planner.eval.benchmarks.gta import holds, word_f1
from planner.eval.benchmarks.run import NAMES, Run
from planner.eval.benchmarks.tables import collected, tables
from planner.eval.benchmarks.taskbench import planned, rouge_n
from planner.eval.command import EvaluationError
from planner.eval.gateway import GatewayClient
from tests.benchmark_files import answers, judge, lines, picture
from tests.gateway_transport import chat_transport


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
    assert "| LLaVA | 0.00 | - | - | - | 100.00 | - | - | - | - | 50.00 |" in tables(collected(tmp_path / "out"))


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
