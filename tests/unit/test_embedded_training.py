"""The training loop of embedded checkpoints, on a model of three weights."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from services.embedded.training import publish as publishing
from services.embedded.training.command import TrainingError, TrainRequest, make_recipe, parsed_settings
from services.embedded.training.curve import Curve, Point
from services.embedded.training.loop import Run, RunOptions, schedule
from services.embedded.training.publish import publish
from services.embedded.training.recipe import Recipe, RecipeConfig, WorldData, recipe_class, recipe_names
from services.embedded.training.state import RunState
from services.embedded.training.warm_start import WarmStartError, start_from


class LineConfig(RecipeConfig):
    steps: int = 60
    batch_size: int = 8
    learning_rate: float = 0.1
    weight_decay: float = 0.0
    bf16: bool = False
    ema: float = 0.9


class Line(Recipe[LineConfig]):
    """Learns y = 2x + 1."""

    name = "line"
    metric = "rightness"
    Config = LineConfig
    interrupt_at: int | None = None
    seen = 0

    def build(self) -> Any:
        return torch.nn.Linear(1, 1)

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        x = rng.normal(size=(self.config.batch_size, 1)).astype(np.float32)
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(2 * x + 1)}

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        self.seen += 1
        if self.seen == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGTERM)
        error = (model(batch["x"]) - batch["y"]).square().mean()
        return {"loss": error, "error": error}

    def evaluate(self, model: Any) -> dict[str, float]:
        return {"rightness": 1.0 / (1.0 + abs(float(model.weight) - 2.0) + abs(float(model.bias) - 1.0))}

    def save(self, model: Any, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), folder / "model.safetensors")


OPTIONS = RunOptions(workers=0, evaluations=3)


def run_of(folder: Path, recipe: Line | None = None, said: list[str] | None = None) -> Run:
    lines = said if said is not None else []
    return Run(recipe or line(), folder, OPTIONS, lines.append)


def line() -> Line:
    return Line(LineConfig(), WorldData(Path("nowhere")), {})


@pytest.fixture(autouse=True)
def _one_kind_of_arithmetic() -> Any:
    yield
    torch.set_flush_denormal(False)


def test_a_run_learns_and_leaves_a_checkpoint_a_curve_and_its_picture(tmp_path: Path) -> None:
    figures = run_of(tmp_path).train()
    assert figures is not None
    assert figures["rightness"] > 0.8
    assert set(load_file(tmp_path / "checkpoint" / "model.safetensors")) == {"weight", "bias"}
    assert [point["step"] for point in json.loads((tmp_path / "curve.json").read_text())] == [20, 40, 60]
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_an_interrupted_run_goes_on_to_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole")
    whole.train()
    cut = line()
    cut.interrupt_at = 31
    said: list[str] = []
    assert run_of(tmp_path / "cut", cut, said).train() is None
    assert "interrupted at step 31" in said[-1]
    assert run_of(tmp_path / "cut").train() is not None
    one, other = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [point.step for point in Curve.load(tmp_path / "cut" / "curve.json").points] == [20, 40, 60]


def published_line(folder: Path) -> Path:
    """A checkpoint near the goal, after 40 steps in 3 minutes."""
    folder.mkdir()
    save_file(
        {"weight": torch.tensor([[1.5]]).half(), "bias": torch.tensor([0.5]).half()}, folder / "model.safetensors"
    )
    (folder / publishing.CARD).write_text(json.dumps({"steps": 40, "minutes": 3.0}))
    Curve([Point(40, 320, 3.0, {"loss": 1.0}, {"rightness": 0.5})]).save(folder / "curve.json")
    return folder


def test_a_run_whose_state_is_gone_goes_on_from_the_published_checkpoint(tmp_path: Path) -> None:
    options = RunOptions(workers=0, evaluations=3, start=published_line(tmp_path / "published"))
    said: list[str] = []
    recipe = line()
    run = Run(recipe, tmp_path / "run", options, said.append)
    figures = run.train()
    assert said[0] == "line: going on from the published checkpoint, step 40 after 3 min"
    assert recipe.seen == 20, "of 60 steps 40 were done before"
    assert figures is not None
    assert figures["rightness"] > 0.5
    assert [point.step for point in run.curve.points] == [40, 60]
    assert run.curve.points[-1].minutes >= 3.0


def test_a_run_with_a_state_goes_on_from_that_and_not_from_the_published_checkpoint(tmp_path: Path) -> None:
    cut = line()
    cut.interrupt_at = 11
    run_of(tmp_path / "run", cut).train()
    said: list[str] = []
    options = RunOptions(workers=0, start=published_line(tmp_path / "published"))
    Run(line(), tmp_path / "run", options, said.append).train()
    assert said[0] == "line: going on from step 11 after 0 min"


def test_the_first_steps_from_a_published_checkpoint_are_small(tmp_path: Path) -> None:
    rates: list[float] = []
    recipe = line()
    step = torch.optim.AdamW.step

    def watched(self: Any, *given: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    options = RunOptions(workers=0, start=published_line(tmp_path / "published"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        Run(recipe, tmp_path / "run", options, lambda text: None).train()
    assert rates[0] < rates[1] < rates[2] < 0.1 * recipe.config.learning_rate


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path: Path) -> None:
    folder = published_line(tmp_path / "published")
    save_file({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(WarmStartError, match=r"model\.safetensors does not fit .* without --from-published"):
        Run(line(), tmp_path / "run", RunOptions(workers=0, start=folder), lambda text: None).train()
    with pytest.raises(WarmStartError, match="There is no published checkpoint"):
        Run(line(), tmp_path / "run", RunOptions(workers=0, start=tmp_path / "none"), lambda text: None).train()


@pytest.mark.parametrize("name", ["sam", "clip", "grounding_dino", "controlnet", "inpainting"])
def test_a_recipe_finds_every_weight_of_its_published_checkpoint(name: str, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    recipe = make_recipe(TrainRequest(name, world=tmp_path))
    model = recipe.build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    start_from(publishing.weights_folder() / name, recipe, RunState(model, None, None))
    files = (publishing.weights_folder() / name).rglob("*.safetensors")
    largest = max(files, key=lambda file: file.stat().st_size)
    stored = {re.sub(r"\.(up|down|whole)$", "", key) for key in load_file(largest)}
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert len(changed) > 0.9 * len(stored)


def test_a_run_that_takes_too_long_ends_in_time_with_its_rate_fallen(tmp_path: Path) -> None:
    run = Run(line(), tmp_path, RunOptions(workers=0, minutes=1e-9), lambda text: None)
    assert run.train() is not None
    assert run.curve.points[-1].step == 1


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    recipe = line()
    recipe.loss = lambda model, batch: {"loss": model.weight.sum() * float("nan")}  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="line: the loss is nan at step 1"):
        run_of(tmp_path, recipe).train()


def test_the_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    rates = [schedule(progress / 100, warmup=0.1, decay=0.4) for progress in range(101)]
    assert rates[5] == pytest.approx(0.5)
    assert set(rates[10:60]) == {1.0}
    assert rates[80] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, score: float) -> str | None:
    monkeypatch.setattr(publishing, "weights_folder", lambda: tmp_path / "weights")
    made = tmp_path / f"made{score}"
    made.mkdir()
    save_file({"weight": torch.full((2,), score), "index": torch.tensor([1])}, made / "model.safetensors")
    (made / "config.json").write_text(json.dumps({"width": 2, "_name_or_path": str(tmp_path)}))
    curve = Curve([Point(10, 80, 0.5, {"loss": 1.0}, {"rightness": score})])
    return publish(
        made, name="line", config={"steps": 10}, curve=curve, figures={"rightness": score}, metric="rightness"
    )


def test_a_better_run_replaces_the_published_checkpoint_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published(tmp_path, monkeypatch, 0.5) is None
    assert published(tmp_path, monkeypatch, 0.75) is None
    weights = load_file(tmp_path / "weights" / "line" / "model.safetensors")
    assert weights["weight"].dtype == torch.float16
    assert weights["weight"].tolist() == [0.75, 0.75]
    assert weights["index"].dtype == torch.int64
    config = json.loads((tmp_path / "weights" / "line" / "config.json").read_text())
    assert config == {"width": 2}, "a folder of the machine that trained it means nothing elsewhere"
    card = json.loads((tmp_path / "weights" / "line" / "model_card.json").read_text())
    assert (card["samples"], card["dev"], card["licence"]) == (80, {"rightness": 0.75}, "Apache-2.0")


def test_a_worse_run_leaves_the_published_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(tmp_path, monkeypatch, 0.5) is None
    refused = published(tmp_path, monkeypatch, 0.25)
    assert refused == "the published line has rightness 0.5000, this run 0.2500"
    assert load_file(tmp_path / "weights" / "line" / "model.safetensors")["weight"].tolist() == [0.5, 0.5]


def test_every_recipe_is_named_as_its_module_and_says_by_what_it_is_compared() -> None:
    for name in recipe_names():
        recipe = recipe_class(name)
        assert recipe.name == name
        assert recipe.metric
        assert set(recipe.needs) < set(recipe_names())


def test_what_a_person_gets_wrong_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no recipe 'sma': name one of .*sam"):
        make_recipe(TrainRequest("sma", world=tmp_path))
    with pytest.raises(TrainingError, match="llava-plus embedded render"):
        make_recipe(TrainRequest("sam", world=tmp_path))
    with pytest.raises(TrainingError, match="NAME=VALUE, not 'steps'"):
        parsed_settings(("steps",))
    assert parsed_settings(("steps=10", "bf16=false")) == {"steps": 10, "bf16": False}
