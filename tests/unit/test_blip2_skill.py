from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.skills.blip2 import (
    ANSWER_WHEN_SILENT,
    CAPTION_WHEN_SILENT,
    Blip2,
    Blip2Args,
    Blip2Result,
    first_line,
    question,
)
from tests.tiny import blip2 as tiny

pytest.importorskip("transformers", reason="runs BLIP-2")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make a tiny model slow where other processes want the cores too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.make(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def skill(checkpoint: str) -> Blip2:
    skill = Blip2(checkpoint, **tiny.OPTIONS)
    skill.setup()
    return skill


def call(prompt: str = "", size: tuple[int, int] = (40, 30), seed: int = 0) -> SkillCall[Blip2Args]:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return SkillCall(Blip2Args(prompt=prompt), {Symbol.IMAGE: Image.fromarray(pixels)})


def said(skill: Blip2, *calls: SkillCall[Blip2Args]) -> list[str]:
    answers = skill.predict(calls)
    assert all(isinstance(answer, Blip2Result) for answer in answers)
    return [answer.caption for answer in answers if isinstance(answer, Blip2Result)]


def test_a_prompt_is_asked_the_way_blip2_was_evaluated() -> None:
    assert question("what is this?") == "Question: what is this? Answer:"
    assert question("Question: what? Answer:") == "Question: what? Answer:"
    assert question("") == ""


def test_what_follows_a_line_break_is_not_part_of_the_answer() -> None:
    assert first_line(" two  boats \nQuestion: why?") == "two boats"
    assert first_line(" \n ") == ""


def test_captions_and_answers_in_one_batch_equal_those_given_alone(skill: Blip2) -> None:
    calls = [call("", seed=1), call("what is this", seed=2), call("a picture of two boats on the beach", seed=3)]
    assert said(skill, *calls) == [said(skill, one)[0] for one in calls]


def test_the_question_and_the_picture_change_what_is_said(skill: Blip2) -> None:
    questions = said(skill, *(call(prompt, seed=1) for prompt in ("", "what is this", "two boats?", "on the beach")))
    pictures = said(skill, *(call(seed=seed) for seed in range(8)))
    assert len(set(questions)) > 1
    assert len(set(pictures)) > 1


def test_a_batch_is_one_call_of_the_model(skill: Blip2, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    forward = skill._model.vision_model.forward

    def counted(pixel_values: Any, **kwargs: Any) -> Any:
        sizes.append(len(pixel_values))
        return forward(pixel_values, **kwargs)

    monkeypatch.setattr(skill._model.vision_model, "forward", counted)
    said(skill, call(), call("what"), call("is this", (7, 140)))
    assert sizes == [3]


def test_a_search_with_beams_prefers_short_or_long_texts_as_it_is_told(checkpoint: str) -> None:
    words = {}
    for penalty in (-2.0, 2.0):
        skill = Blip2(checkpoint, **{**tiny.OPTIONS, "num_beams": 4, "length_penalty": penalty})
        skill.setup()
        words[penalty] = sum(len(text.split()) for text in said(skill, *(call(seed=seed) for seed in range(8))))
    assert words[-2.0] < words[2.0]


def test_special_tokens_in_a_prompt_are_only_dropped(skill: Blip2) -> None:
    assert said(skill, call("what <image> is </s> this")) == said(skill, call("what is this"))


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (400, 20), (20, 400)])
def test_odd_pictures_get_a_caption_and_their_own_size(skill: Blip2, size: tuple[int, int]) -> None:
    (answer,) = skill.predict([call("", size)])
    assert isinstance(answer, Blip2Result)
    assert (answer.size.width, answer.size.height) == size
    assert answer.caption


def test_a_silent_model_gives_a_defined_caption_and_answer(skill: Blip2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skill, "_generate", lambda calls, prompts: [""] * len(calls))
    assert said(skill, call(), call("what is this")) == [CAPTION_WHEN_SILENT, ANSWER_WHEN_SILENT]


def test_a_question_longer_than_the_model_reads_is_refused_without_its_neighbours(checkpoint: str) -> None:
    skill = Blip2(checkpoint, max_new_tokens=256)
    skill.setup()
    long, short = skill.predict([call("a " * 150), call()])
    assert isinstance(long, BadArguments)
    assert long.details == {"argument": "prompt"}
    assert isinstance(short, Blip2Result)


def test_a_small_planner_is_told_the_text_alone() -> None:
    answer = Blip2Result.model_validate({"caption": "two boats", "size": {"width": 4, "height": 3}})
    assert answer.observation(brief=True) == {"caption": "two boats"}
    assert answer.observation(brief=False)["size"] == {"width": 4, "height": 3}


def test_half_precision_keeps_the_q_former_in_single_precision(checkpoint: str) -> None:
    import torch

    skill = Blip2(checkpoint, dtype="bfloat16", **tiny.OPTIONS)
    skill.setup()
    assert skill._model.language_model.lm_head.weight.dtype == torch.bfloat16
    assert skill._model.qformer.layernorm.weight.dtype == torch.float32
    assert said(skill, call("what is this"))


def test_a_checkpoint_from_before_image_tokens_loads(checkpoint: str, tmp_path: Path) -> None:
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    model = Blip2ForConditionalGeneration.from_pretrained(checkpoint)
    model.config.image_token_index = None
    model.save_pretrained(tmp_path)
    Blip2Processor.from_pretrained(checkpoint).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    (tmp_path / "processor_config.json").write_text(json.dumps(settings | {"num_query_tokens": None}))

    skill = Blip2(str(tmp_path), **tiny.OPTIONS)
    skill.setup()
    assert skill._model.config.image_token_index == 3
    assert said(skill, call("what is this"))


def test_the_published_checkpoints_keys_and_shapes_are_those_of_the_full_size_model() -> None:
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, OPTConfig

    config = Blip2Config(
        text_config=OPTConfig(
            vocab_size=50304,
            hidden_size=2560,
            word_embed_proj_dim=2560,
            ffn_dim=10240,
            num_hidden_layers=32,
            num_attention_heads=32,
        )
    )
    with torch.device("meta"):
        model = Blip2ForConditionalGeneration(config)
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(published_tensors())


Tensors = Iterator[tuple[str, tuple[int, ...]]]


def linear(name: str, outputs: int, inputs: int) -> Tensors:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def norm(name: str, width: int) -> Tensors:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def published_tensors() -> Tensors:
    """Names and shapes in Salesforce/blip2-opt-2.7b: EVA ViT-g/14 less its last layer, BERT-base Q-Former, OPT 2.7B."""
    yield from eva_tensors("vision_model", width=1408, layers=39, mlp=6144, patch=14, positions=257)
    yield "query_tokens", (1, 32, 768)
    yield from q_former_tensors("qformer", width=768, layers=12, mlp=3072, seen=1408)
    yield from linear("language_projection", 2560, 768)
    yield from opt_tensors("language_model.model.decoder", width=2560, layers=32, mlp=10240)
    yield "language_model.lm_head.weight", (50304, 2560)


def eva_tensors(prefix: str, width: int, layers: int, mlp: int, patch: int, positions: int) -> Tensors:
    yield f"{prefix}.embeddings.class_embedding", (1, 1, width)
    yield f"{prefix}.embeddings.position_embedding", (1, positions, width)
    yield f"{prefix}.embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield f"{prefix}.embeddings.patch_embedding.bias", (width,)
    yield from norm(f"{prefix}.post_layernorm", width)
    for layer in (f"{prefix}.encoder.layers.{index}" for index in range(layers)):
        yield from linear(f"{layer}.self_attn.qkv", 3 * width, width)
        yield from linear(f"{layer}.self_attn.projection", width, width)
        yield from norm(f"{layer}.layer_norm1", width)
        yield from norm(f"{layer}.layer_norm2", width)
        yield from linear(f"{layer}.mlp.fc1", mlp, width)
        yield from linear(f"{layer}.mlp.fc2", width, mlp)


def q_former_tensors(prefix: str, width: int, layers: int, mlp: int, seen: int) -> Tensors:
    """Every second layer, from the first on, looks at the picture, `seen` wide."""
    yield from norm(f"{prefix}.layernorm", width)
    for index, layer in enumerate(f"{prefix}.encoder.layer.{index}" for index in range(layers)):
        for block, inputs in (("attention", width), *([("crossattention", seen)] if index % 2 == 0 else [])):
            yield from linear(f"{layer}.{block}.attention.query", width, width)
            yield from linear(f"{layer}.{block}.attention.key", width, inputs)
            yield from linear(f"{layer}.{block}.attention.value", width, inputs)
            yield from linear(f"{layer}.{block}.output.dense", width, width)
            yield from norm(f"{layer}.{block}.output.LayerNorm", width)
        yield from linear(f"{layer}.intermediate_query.dense", mlp, width)
        yield from linear(f"{layer}.output_query.dense", width, mlp)
        yield from norm(f"{layer}.output_query.LayerNorm", width)


def opt_tensors(prefix: str, width: int, layers: int, mlp: int) -> Tensors:
    yield f"{prefix}.embed_tokens.weight", (50304, width)
    yield f"{prefix}.embed_positions.weight", (2050, width)
    yield from norm(f"{prefix}.final_layer_norm", width)
    for layer in (f"{prefix}.layers.{index}" for index in range(layers)):
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.self_attn.{projection}", width, width)
        yield from norm(f"{layer}.self_attn_layer_norm", width)
        yield from linear(f"{layer}.fc1", mlp, width)
        yield from linear(f"{layer}.fc2", width, mlp)
        yield from norm(f"{layer}.final_layer_norm", width)
