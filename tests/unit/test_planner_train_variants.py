"""One recipe trained with settings changed, on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from planner.train.config import ConfigError, TrainConfig  # noqa: E402
from planner.train.models import load, prepare  # noqa: E402
from planner.train.recipe import Outcome, main  # noqa: E402
from planner.train.variants import Stages  # noqa: E402
from tests import tiny_llava  # noqa: E402
from tests.tiny_training import configured, write_data  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they give in a model of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_variants_that_agree_on_their_eyes_share_one_first_stage(model: Path, data: Path, tmp_path: Path) -> None:
    captions = {"data": [{"path": data / "captions.json", "images": data}], "form": "caption"}
    stages = Stages(
        configured(model, data, tmp_path, **captions, language="frozen", projector=True),
        configured(model, data, tmp_path, projector=True),
    )
    told: list[str] = []
    for name, changes in (("whole", {}), ("wordless", {"thoughts": False}), ("last", {"vision_layer": -1})):
        assert stages.train(changes, tmp_path / "variants" / name, told.append)
        assert (tmp_path / "variants" / name / "adapter_model.safetensors").is_file()
    assert [line for line in told if line.startswith("stage 1")] == [
        f"stage 1: {tmp_path}/variants/stage1",
        f"stage 1: {tmp_path}/variants/stage1_vision_layer_-1",
    ]
    told.clear()
    assert not stages.train({"seed": 8}, tmp_path / "variants" / "cut", told.append, minutes=0.0)
    assert "stopped after step" in told[-1]
    with pytest.raises(ConfigError, match="thougts: Extra inputs"):
        stages.train({"thougts": False}, tmp_path / "variants" / "misspelt", told.append)


def test_a_projector_is_trained_along_with_an_adapter_that_had_none(model: Path, data: Path, tmp_path: Path) -> None:
    main(configured(model, data, tmp_path), print)
    config = configured(model, data, tmp_path, projector=True, lora={"start_from": tmp_path / "out"})
    with_both = prepare(load(config), config)
    trained = {name: weight for name, weight in with_both.model.named_parameters() if weight.requires_grad}
    assert any("multi_modal_projector" in name for name in trained)
    learned = [parameter for name, parameter in trained.items() if "lora_B" in name]
    assert any(parameter.abs().sum() > 0 for parameter in learned), "a fresh adapter's B is zero"


def test_a_variant_with_a_fresh_projector_does_not_start_from_stage_1(model: Path, data: Path, tmp_path: Path) -> None:
    told: list[TrainConfig] = []

    def noted(config: TrainConfig, tell: Any, minutes: float | None) -> Outcome:
        told.append(config)
        return Outcome(1, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.train.variants.main", noted)
        stages = Stages(*[configured(model, data, tmp_path, projector=True)] * 2)
        stages.train({}, tmp_path / "whole", print)
        stages.train({"projector_fresh": True}, tmp_path / "fresh", print)
    assert [config.projector_from for config in told[1::2]] == [tmp_path / "stage1" / "projector.safetensors", None]
    assert [config.output for config in told] == [tmp_path / name for name in ("stage1", "whole", "stage1", "fresh")]
