"""Full-size runs, as far as they can be checked without a GPU: what is trained, and that launchers read the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from planner.train.config import TrainConfig  # noqa: E402
from planner.train.models import counts, freeze  # noqa: E402

CONFIGS = Path("planner/train/configs")
SIZES = {"7b": (4096, 11008, 32, 32), "13b": (5120, 13824, 40, 40)}


def full_size(name: str) -> Any:
    """LLaVA on Vicuna with CLIP's large tower, without any memory for its weights."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    from planner.conversion.settings import KNOWN_TOWERS

    hidden, inner, layers, heads = SIZES[name]
    config = LlavaConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": 32001,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
        },
        vision_config=KNOWN_TOWERS["openai/clip-vit-large-patch14"],
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        return LlavaForConditionalGeneration(config)


def linear(rows: int, columns: int, bias: bool = False) -> int:
    return rows * columns + (rows if bias else 0)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_each_stage_of_a_full_size_run_trains_exactly_its_parts(name: str) -> None:
    hidden, inner, layers, _ = SIZES[name]
    layer = 4 * linear(hidden, hidden) + 3 * linear(inner, hidden) + 2 * hidden
    language = layers * layer + 2 * linear(32001, hidden) + hidden
    projector = linear(hidden, 1024, True) + linear(hidden, hidden, True)
    model = full_size(name)
    whole, _ = counts(model)
    tower = whole - language - projector
    assert 300e6 < tower < 307e6  # CLIP's ViT-L/14
    for file, trained in (("stage1", projector), ("stage2", language + projector)):
        freeze(model, TrainConfig.load(CONFIGS / "llava_plus" / f"{file}.yaml"))
        assert counts(model) == (whole, trained)


@pytest.mark.parametrize("file", ["fsdp_8.yaml", "zero3_8.yaml"])
def test_accelerate_reads_the_launch_files(file: str) -> None:
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import ClusterConfig

    path = CONFIGS / "accelerate" / file
    config = ClusterConfig.from_yaml_file(str(path))
    assert config.num_processes == 8
    named = yaml.safe_load(path.read_text())
    if config.deepspeed_config:
        assert Path(config.deepspeed_config["deepspeed_config_file"]).is_file()
    else:
        assert config.fsdp_config == named["fsdp_config"]


def test_fsdp_wraps_layers_that_the_model_has() -> None:
    wrapped = yaml.safe_load((CONFIGS / "accelerate" / "fsdp_8.yaml").read_text())["fsdp_config"]
    names = wrapped["fsdp_transformer_layer_cls_to_wrap"].split(",")
    kinds = {type(module).__name__ for module in full_size("7b").modules()}
    assert set(names) <= kinds


def test_zero3_gathers_the_weights_that_are_saved() -> None:
    settings = json.loads((CONFIGS / "accelerate" / "zero3.json").read_text())
    assert settings["zero_optimization"]["stage"] == 3
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
