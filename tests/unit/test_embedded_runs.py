"""Runs of embedded training that are asked for wrongly, damaged, finished, or gone on with: what a person is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from deploy.cli.main import app
from services.embedded.eval.progress import quiet
from services.embedded.training import command
from services.embedded.training import publish as publishing
from services.embedded.training.command import TrainingError, TrainRequest, run
from services.embedded.training.curve import Curve, Point
from services.embedded.training.errors import RunError
from services.embedded.training.loop import Run, RunOptions
from services.embedded.training.recipe import Recipe, RecipeConfig, WorldData
from services.embedded.training.warm_start import WarmStartError, restore
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import DEV_SEED, TRAIN_SEED, TRAIN_STYLES
from tests.world_sprites import shapes_atlas


class SumConfig(RecipeConfig):
    steps: int = 12
    batch_size: int = 4
    learning_rate: float = 0.1
    bf16: bool = False
    width: int = 1


class Sum(Recipe[SumConfig]):
    """Learns y = 2x; its loss is the number of the step."""

    name = "sum"
    metric = "rightness"
    reads_scenes = False
    Config = SumConfig
    steps_done = 0

    def build(self) -> Any:
        return torch.nn.Linear(1, self.config.width)

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"x": torch.from_numpy(rng.normal(size=(self.config.batch_size, 1)).astype(np.float32))}

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        self.steps_done += 1
        error = (model(batch["x"]) - 2 * batch["x"]).square().mean()
        return {"loss": error, "number": torch.tensor(float(self.steps_done))}

    def evaluate(self, model: Any) -> dict[str, float]:
        return {"rightness": 1.0 / (1.0 + abs(float(model.weight[0]) - 2.0))}

    def save(self, model: Any, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), folder / "model.safetensors")


@pytest.fixture(autouse=True)
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The recipe under its name, and an empty folder of published checkpoints."""
    monkeypatch.setattr(command, "recipe_class", lambda name: Sum)
    monkeypatch.setattr(Curve, "plot", lambda *given: None)
    for module in (command, publishing):
        monkeypatch.setattr(module, "weights_folder", lambda: tmp_path / "weights")
    yield
    torch.set_flush_denormal(False)


def request(tmp_path: Path, **changes: Any) -> TrainRequest:
    given: dict[str, Any] = {"runs": tmp_path / "runs", "world": tmp_path / "world", "workers": 0}
    return TrainRequest("sum", **(given | changes))


def published(tmp_path: Path) -> Path:
    """A checkpoint after 8 steps of 10 samples in 3 minutes."""
    folder = tmp_path / "weights" / "sum"
    folder.mkdir(parents=True)
    save_file({"weight": torch.tensor([[1.5]]).half(), "bias": torch.tensor([0.0]).half()}, folder / "m.safetensors")
    card = {"steps": 8, "minutes": 3.0, "metric": "rightness", "dev": {"rightness": 0.01}}
    (folder / publishing.CARD).write_text(json.dumps(card))
    Curve([Point(8, 80, 3.0, {"loss": 1.0}, {"rightness": 0.5})]).save(folder / "curve.json")
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": ("stpes=3",)},
            r"stpes: Extra inputs are not permitted\. The settings of sum are steps, batch_size",
        ),
        ({"settings": ("steps=many",)}, r"steps: Input should be a valid integer"),
        ({"settings": ("steps=-1",)}, r"steps: Value error, give more than 0"),
        ({"settings": ("steps=[1",)}, r"value of 'steps=\[1' cannot be read"),
        ({"minutes": 0.0}, r"--minutes is a time greater than 0, not 0"),
        ({"minutes": -5.0}, r"--minutes is a time greater than 0, not -5"),
        ({"device": "abacus"}, r"torch cannot use 'abacus' here: "),
        ({"from_published": True}, r"no published checkpoint in .*: train without --from-published"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_in_a_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        run(request(tmp_path, **changes))


def test_the_command_line_tells_it_too(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["embedded", "train", "sum", "--runs", str(tmp_path), "--set", "stpes=3"])
    assert "stpes: Extra inputs" in str(result.exception)


def test_scenes_that_are_not_whole_are_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sum, "reads_scenes", True)
    with pytest.raises(TrainingError, match=r"There are no scenes in .*`llava-plus embedded render`"):
        run(request(tmp_path))
    atlas = shapes_atlas(TRAIN_STYLES)
    SceneCache.build(tmp_path / "world" / "train", 2, TRAIN_SEED, TRAIN_STYLES, size=32, atlas=atlas)
    with pytest.raises(TrainingError, match=r"dev holds no finished scenes: .*`llava-plus embedded render`"):
        run(request(tmp_path))
    SceneCache.build(tmp_path / "world" / "dev", 1, DEV_SEED, TRAIN_STYLES, size=32, atlas=atlas)
    run(request(tmp_path))


def test_painters_need_no_rendered_scenes(tmp_path: Path) -> None:
    from services.embedded.training.recipe import recipe_class, recipe_names

    live = {name for name in recipe_names() if not recipe_class(name).reads_scenes}
    assert live == {"vae", "stable_diffusion", "instruct_pix2pix", "inpainting", "controlnet"}


def test_a_damaged_state_says_what_to_remove(tmp_path: Path) -> None:
    run(request(tmp_path))
    folder = tmp_path / "runs" / "sum"
    state = (folder / "state.pt").read_bytes()
    for damaged in (state[: len(state) // 2], b"", b"no state at all"):
        (folder / "state.pt").write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"state\.pt cannot be read: remove .*sum to start"):
            run(request(tmp_path))
    (folder / "state.pt").write_bytes(state)
    (folder / "curve.json").write_text('[{"step": 4,')
    with pytest.raises(TrainingError, match=r"curve\.json cannot be read: remove it"):
        run(request(tmp_path))


def test_a_run_of_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    run(request(tmp_path))
    with pytest.raises(TrainingError, match="has another network than this one: give the settings"):
        run(request(tmp_path, settings=("width=3",)))


def test_averaged_weights_that_a_run_had_not_start_from_its_weights(tmp_path: Path) -> None:
    run(request(tmp_path, settings=("steps=8",)))
    averaged = Run(sum_of(steps=9, ema=0.5), tmp_path / "runs" / "sum", OPTIONS, quiet)
    figures = averaged.train()
    assert figures is not None
    assert figures["rightness"] == pytest.approx(averaged.curve.points[-2].figures["rightness"], abs=0.1)


OPTIONS = RunOptions(workers=0, evaluations=2)


def sum_of(**settings: Any) -> Sum:
    return Sum(SumConfig(**settings), WorldData(Path("nowhere")), {})


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    class Nested(Sum):
        def evaluate(self, model: Any) -> dict[str, float]:
            with pytest.raises(RunError, match=r"Another process trains in .* --runs"):
                Run(sum_of(), tmp_path, OPTIONS, quiet).train()
            return super().evaluate(model)

    assert Run(Nested(SumConfig(), WorldData(tmp_path), {}), tmp_path, OPTIONS, quiet).train() is not None


def test_a_run_that_has_ended_says_so_and_takes_no_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(request(tmp_path, publish=False))
    curve = (tmp_path / "runs" / "sum" / "curve.json").read_text()
    recipe = sum_of()
    said: list[str] = []
    assert Run(recipe, tmp_path / "runs" / "sum", OPTIONS, said.append).train() is not None
    assert recipe.steps_done == 0
    assert "the run has ended: more --minutes, or --set steps=NUMBER, let it go on" in said[1]
    assert (tmp_path / "runs" / "sum" / "curve.json").read_text() == curve, "no point twice"
    run(request(tmp_path))
    assert "sum: published" in capsys.readouterr().out, "one that was not published can be yet"
    more = sum_of(steps=15)
    Run(more, tmp_path / "runs" / "sum", OPTIONS, said.append).train()
    assert more.steps_done == 3


def test_a_point_has_the_losses_since_the_point_before_also_at_the_end(tmp_path: Path) -> None:
    made = Run(sum_of(), tmp_path, OPTIONS, quiet)
    made.train()
    assert [point.step for point in made.curve.points] == [6, 12]
    assert [point.losses["number"] for point in made.curve.points] == [3.5, 9.5]


def test_samples_are_counted_with_the_batches_that_they_came_in(tmp_path: Path) -> None:
    Run(sum_of(), tmp_path, OPTIONS, quiet).train()
    more = Run(sum_of(steps=20, batch_size=10), tmp_path, OPTIONS, quiet)
    more.train()
    assert [(point.step, point.samples) for point in more.curve.points] == [(6, 24), (12, 48), (20, 128)]
    assert Curve.load(tmp_path / "curve.json").points == more.curve.points


def test_a_run_from_the_published_checkpoint_counts_its_steps_samples_and_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
    run(request(tmp_path, from_published=True, minutes=60.0))
    card = json.loads((tmp_path / "weights" / "sum" / publishing.CARD).read_text())
    assert (card["steps"], card["samples"]) == (12, 80 + 4 * 4)
    assert card["minutes"] >= 3.0
    assert "going on from the published checkpoint, step 8 after 3 min" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"minutes": 2.5}, {"settings": ("steps=8",)}])
def test_a_published_checkpoint_that_has_had_all_that_is_asked_for_is_not_trained_for_a_step(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = published(tmp_path)
    before = (folder / "m.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="at step 8 after 3 min, which count: give more --minutes, or --set steps"):
        run(request(tmp_path, from_published=True, **changes))
    assert (folder / "m.safetensors").read_bytes() == before


def branches() -> Any:
    """Two networks whose parts have the same names, as a ControlNet and the UNet that it steers have."""
    steered = torch.nn.ModuleDict({"first": torch.nn.Linear(2, 2), "last": torch.nn.Linear(2, 2)})
    steering = torch.nn.ModuleDict({"first": torch.nn.Linear(2, 2), "out": torch.nn.Linear(2, 2)})
    return torch.nn.ModuleDict({"steered": steered, "steering": steering})


def test_weights_go_to_the_one_part_of_a_model_that_has_all_of_their_names(tmp_path: Path) -> None:
    model = branches()
    steered, steering = model["steered"], model["steering"]
    untouched = {name: value.clone() for name, value in steered.state_dict().items()}
    wanted = {name: torch.full_like(value, 0.5) for name, value in steering.state_dict().items()}
    save_file(wanted, tmp_path / "model.safetensors")
    restore(model, tmp_path)
    assert all(torch.equal(value, wanted[name]) for name, value in steering.state_dict().items())
    assert all(torch.equal(value, untouched[name]) for name, value in steered.state_dict().items())
    save_file({"first.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(WarmStartError, match="does not fit the recipe's network"):
        restore(model, tmp_path)


def test_an_interrupted_publication_leaves_the_checkpoint_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(tmp_path)

    def cut(source: Path, target: Path) -> None:
        Path(target).mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", cut)
        with pytest.raises(KeyboardInterrupt):
            run(request(tmp_path))
    assert (folder / "m.safetensors").is_file()
    run(request(tmp_path))
    assert (folder / "model.safetensors").is_file()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["sum"]


def test_a_figure_that_is_no_number_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = published(tmp_path)
    monkeypatch.setattr(Sum, "evaluate", lambda self, model: {"rightness": float("nan")})
    run(request(tmp_path))
    assert (folder / "m.safetensors").is_file()
