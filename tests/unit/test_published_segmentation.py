"""The published checkpoints of openseed and seem, at full size without weights, and small ones with their key names.

Facts: facebookresearch/Mask2Former, configs/ade20k/semantic-segmentation/swin/maskformer2_swin_large_IN21k_384_bs16_
160k_res640.yaml (its table gives 215M parameters), and baaivision/Painter, SegGPT/SegGPT_inference/models_seggpt.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.skills.openseed import OpenSeed, OpenSeedArgs, OpenSeedResult

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN_LARGE = {
    "image_size": 384,
    "embed_dim": 192,
    "depths": [2, 2, 18, 2],
    "num_heads": [6, 12, 24, 48],
    "window_size": 12,
    "drop_path_rate": 0.3,
    "out_features": STAGES,
}
MASK2FORMER_ADE = {
    "num_labels": 150,
    "num_queries": 100,
    "feature_size": 256,
    "mask_feature_size": 256,
    "hidden_dim": 256,
    "encoder_layers": 6,
    "encoder_feedforward_dim": 1024,
    "decoder_layers": 10,
    "num_attention_heads": 8,
    "dim_feedforward": 2048,
    "common_stride": 4,
    "pre_norm": False,
    "enforce_input_projection": False,
}
PUBLISHED_SWIN_KEYS = {
    "embeddings.patch_embeddings.projection.weight",
    "embeddings.patch_embeddings.projection.bias",
    "embeddings.norm.weight",
    "embeddings.norm.bias",
    *(
        f"encoder.layers.N.blocks.N.{part}.{kind}"
        for part in (
            "layernorm_before",
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "layernorm_after",
            "intermediate.dense",
            "output.dense",
        )
        for kind in ("weight", "bias")
    ),
    "encoder.layers.N.blocks.N.attention.self.relative_position_bias_table",
    "encoder.layers.N.blocks.N.attention.self.relative_position_index",
    "encoder.layers.N.downsample.reduction.weight",
    "encoder.layers.N.downsample.norm.weight",
    "encoder.layers.N.downsample.norm.bias",
    "hidden_states_norms.stageN.weight",
    "hidden_states_norms.stageN.bias",
}
SWIN = "model.pixel_level_module.encoder."


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_mask2former_at_full_size_has_the_published_shapes() -> None:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    with torch.device("meta"):
        config = Mask2FormerConfig(backbone_config=SwinConfig(**SWIN_LARGE), **MASK2FORMER_ADE)
        model = Mask2FormerForUniversalSegmentation(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(215e6, rel=0.005)
    found = shapes(model)
    assert found["class_predictor.weight"] == (151, 256)
    assert found["criterion.empty_weight"] == (151,)
    assert found["model.transformer_module.queries_features.weight"] == (100, 256)
    assert found["model.transformer_module.decoder.mask_predictor.mask_embedder.2.0.weight"] == (256, 256)
    assert found["model.pixel_level_module.decoder.adapter_1.0.weight"] == (256, 192, 1, 1)
    assert [found[f"model.pixel_level_module.decoder.input_projections.{i}.0.weight"][1] for i in range(3)] == [
        1536,
        768,
        384,
    ]
    layers = {name.split(".")[4] for name in found if name.startswith("model.transformer_module.decoder.layers.")}
    assert len(layers) == 9


def test_a_checkpoint_with_the_published_key_names_loads(tmp_path: Path) -> None:
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    small_swin = SWIN_LARGE | {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "window_size": 4}
    small = {"num_labels": 3, "num_queries": 5, "hidden_dim": 32, "feature_size": 32, "mask_feature_size": 32}
    layers = {"encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 2}
    backbone = SwinConfig(**(small_swin | {"num_heads": [1, 2, 2, 2]}))
    config = Mask2FormerConfig(backbone_config=backbone, **(MASK2FORMER_ADE | small | layers))
    made = Mask2FormerForUniversalSegmentation(config).eval()
    made.save_pretrained(tmp_path)
    Mask2FormerImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}).save_pretrained(tmp_path)
    as_published(tmp_path / "model.safetensors")

    skill = OpenSeed(checkpoint=str(tmp_path))
    skill.setup()
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(skill._model(pixels).masks_queries_logits, made(pixels).masks_queries_logits)
    (answer,) = skill.predict([SkillCall(OpenSeedArgs(), {Symbol.IMAGE: Image.new("RGB", (30, 20))})])
    assert isinstance(answer, OpenSeedResult)


def as_published(file: Path) -> None:
    """Check the names of the backbone's keys, and make the file hold what transformers of 2023 wrote: Swin's index
    buffers, and no norm after its last stage (feature maps have norms of their own)."""
    tensors = {name: value for name, value in load_file(file).items() if ".swin.layernorm." not in name}
    for name in [name for name in tensors if name.endswith("relative_position_bias_table")]:
        tensors[name.replace("bias_table", "index")] = torch.zeros(16, 16, dtype=torch.long)
    keys = {re.sub(r"\d+", "N", name.removeprefix(SWIN)) for name in tensors if name.startswith(SWIN)}
    assert keys == PUBLISHED_SWIN_KEYS
    save_file(tensors, file, metadata={"format": "pt"})


def test_seggpt_at_full_size_has_the_published_names_and_shapes() -> None:
    from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

    with torch.device("meta"):
        model = SegGptForImageSegmentation(SegGptConfig())
    layer = {
        "attention.rel_pos_h": (2 * 56 - 1, 64),
        "attention.rel_pos_w": (2 * 28 - 1, 64),
        "attention.qkv.weight": (3072, 1024),
        "attention.qkv.bias": (3072,),
        "attention.proj.weight": (1024, 1024),
        "attention.proj.bias": (1024,),
        "mlp.lin1.weight": (4096, 1024),
        "mlp.lin1.bias": (4096,),
        "mlp.lin2.weight": (1024, 4096),
        "mlp.lin2.bias": (1024,),
        **{f"layernorm_{side}.{kind}": (1024,) for side in ("before", "after") for kind in ("weight", "bias")},
    }
    tokens = ("mask_token", "segment_token_input", "segment_token_prompt", "type_token_semantic", "type_token_instance")
    assert shapes(model) == {
        **{f"model.embeddings.{token}": (1, 1, 1, 1024) for token in tokens},
        "model.embeddings.position_embeddings": (1, 14 * 14 + 1, 1024),
        "model.embeddings.patch_embeddings.projection.weight": (1024, 3, 16, 16),
        "model.embeddings.patch_embeddings.projection.bias": (1024,),
        **{f"model.encoder.layers.{i}.{name}": shape for i in range(24) for name, shape in layer.items()},
        "model.encoder.layernorm.weight": (1024,),
        "model.encoder.layernorm.bias": (1024,),
        "decoder.decoder_embed.weight": (16 * 16 * 64, 4 * 1024),
        "decoder.decoder_embed.bias": (16 * 16 * 64,),
        "decoder.decoder_pred.conv.weight": (64, 64, 3, 3),
        "decoder.decoder_pred.conv.bias": (64,),
        "decoder.decoder_pred.layernorm.weight": (64,),
        "decoder.decoder_pred.layernorm.bias": (64,),
        "decoder.decoder_pred.head.weight": (3, 64, 1, 1),
        "decoder.decoder_pred.head.bias": (3,),
    }
    assert model.config.intermediate_hidden_state_indices == (5, 11, 17, 23)
    assert model.config.merge_index == 2
    size = SegGptImageProcessor().size
    assert (size.height, size.width) == (448, 448)
