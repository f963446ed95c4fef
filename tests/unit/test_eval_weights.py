"""Which weights a scoring run finds, and the lines it leaves about what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.eval.cases import load_cases
from planner.eval.command import EvaluationError, PlannerChoice, offered
from planner.eval.failures import failures, write_failures
from planner.eval.matching import Tools
from planner.eval.playing import Played
from planner.eval.tool_use import judged
from planner.eval.weights import NoWeights, complete, newest

torch = pytest.importorskip("torch")


def adapter(folder: Path, names: dict[str, float]) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({name: torch.full((2, 2), value) for name, value in names.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 4}')
    return folder


def base(folder: Path) -> Path:
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "vision_config.json").write_text('{"tower": "embedded:clip"}')
    save_file(
        {f"multi_modal_projector.linear_{n}.weight": torch.zeros(2, 2) for n in (1, 2)}, folder / "vision.safetensors"
    )
    return folder


def test_a_training_run_is_scored_by_its_newest_checkpoint(tmp_path: Path) -> None:
    for step in (50, 200, 1000):
        adapter(tmp_path / f"checkpoint-{step}", {"a.lora_A.weight": 1.0})
    (tmp_path / "checkpoint-2000").mkdir()
    assert newest(tmp_path).name == "checkpoint-1000"
    assert newest(tmp_path / "checkpoint-50").name == "checkpoint-50"


def test_a_folder_without_an_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoWeights, match="holds no adapter"):
        newest(tmp_path)
    with pytest.raises(EvaluationError, match=r"--model: .* holds no adapter"):
        PlannerChoice("embedded-vllm", str(tmp_path)).about()


def test_a_bare_adapter_is_completed_with_the_base_s_eyes_and_its_own_projector(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    name = "base_model.model.model.language_model.layers.0._orig_mod.mlp.up_proj.lora_A.weight"
    trained = "base_model.model.model.multi_modal_projector.linear_2.weight"
    bare = adapter(tmp_path / "bare", {name: 1.0, trained: 3.0})
    made = complete(bare, tmp_path / "made", base(tmp_path / "base"))
    assert list(load_file(made / "adapter_model.safetensors")) == [name.replace("_orig_mod.", "")]
    eyes = load_file(made / "vision.safetensors")
    assert eyes["multi_modal_projector.linear_1.weight"].sum() == 0
    assert eyes["multi_modal_projector.linear_2.weight"].sum() == 12
    assert complete(made, tmp_path / "other") == made


def test_other_weights_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    first = PlannerChoice("embedded-vllm", str(adapter(tmp_path / "one", {"a.lora_A.weight": 1.0}))).about()
    (tmp_path / "one").rename(tmp_path / "old")
    second = PlannerChoice("embedded-vllm", str(adapter(tmp_path / "one", {"a.lora_A.weight": 2.0}))).about()
    assert first["model"] == second["model"]
    assert first != second


def test_failures_are_told_by_kind_with_all_that_was_called_and_said(tmp_path: Path) -> None:
    tools = Tools(offered(()))
    cases = {case.row: case for case in load_cases()}
    chosen = [cases["detection"], cases["conversation"], cases["caption"], cases["refused"]]
    call = {"API_name": "easyocr", "API_params": {}}
    played = {
        cases["detection"].id: Played(actions=[call]),
        cases["conversation"].id: Played(actions=[call]),
        cases["caption"].id: Played(answer="A dog."),
        cases["refused"].id: Played(broken="no JSON"),
    }
    verdicts = [judged(case, played[case.id], tools) for case in chosen]
    found = {line["row"]: line for line in failures(verdicts, played)}
    assert found["detection"]["kind"] == "another call"
    assert (found["detection"]["wanted"], found["detection"]["called"]) == ("grounding_dino", "easyocr")
    assert found["detection"]["actions"] == [call]
    assert found["conversation"]["kind"] == "needless call"
    assert (found["caption"]["kind"], found["caption"]["answer"]) == ("no call", "A dog.")
    assert found["refused"]["kind"] == "invalid output"
    write_failures(tmp_path / "failures.jsonl", verdicts, played)
    assert [json.loads(line)["kind"] for line in (tmp_path / "failures.jsonl").read_text().splitlines()] == sorted(
        line["kind"] for line in found.values()
    )
