"""Original Grounding DINO files (https://github.com/IDEA-Research/GroundingDINO) as transformers models.

Published are `groundingdino_swint_ogc.pth` (Swin-T, window 7) and `groundingdino_swinb_cogcoor.pth` (Swin-B, window
12). The configuration is read off the tensors' shapes; only the number of heads of deformable attention and BERT's
width of a head cannot be seen there and are the project's constants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.models.original_files import built, counted, read_state, require

PROJECT = "GroundingDINO"
HEADS = 8
BERT_HEAD_WIDTH = 64

_BACKBONE = "model.backbone.conv_encoder.model."
_SWIN = _BACKBONE + "swin."

# Denoising labels, BERT's unused pooler and tables that are computed: no part of the model that detects.
_UNUSED = re.compile(r"^label_enc\.|^bert\.pooler\.|^bert\.embeddings\.position_ids$|relative_position_index$")

_RENAMED: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        r"backbone\.0\.layers\.",
        _SWIN + "encoder.layers.",
        (
            (".norm1.", ".layernorm_before."),
            (".norm2.", ".layernorm_after."),
            (".attn.relative_position_bias_table", ".attention.relative_position_bias.relative_position_bias_table"),
            (".attn.proj.", ".attention.o_proj."),
            (".attn.", ".attention."),
        ),
    ),
    (r"backbone\.0\.patch_embed\.proj\.", _SWIN + "embeddings.patch_embeddings.projection.", ()),
    (r"backbone\.0\.patch_embed\.norm\.", _SWIN + "embeddings.norm.", ()),
    (
        r"transformer\.encoder\.layers\.(\d+)\.",
        r"model.encoder.layers.\1.deformable_layer.",
        (
            (".norm1.", ".self_attn_layer_norm."),
            (".norm2.", ".final_layer_norm."),
            (".linear1.", ".fc1."),
            (".linear2.", ".fc2."),
        ),
    ),
    (
        r"transformer\.encoder\.text_layers\.(\d+)\.",
        r"model.encoder.layers.\1.text_enhancer_layer.",
        (
            (".norm1.", ".layer_norm_before."),
            (".norm2.", ".layer_norm_after."),
            (".linear1.", ".fc1."),
            (".linear2.", ".fc2."),
        ),
    ),
    (
        r"transformer\.encoder\.fusion_layers\.(\d+)\.",
        r"model.encoder.layers.\1.fusion_layer.",
        (
            (".gamma_v", ".vision_param"),
            (".gamma_l", ".text_param"),
            (".layer_norm_v.", ".layer_norm_vision."),
            (".layer_norm_l.", ".layer_norm_text."),
            ("v_proj.", "vision_proj."),
            ("l_proj.", "text_proj."),
        ),
    ),
    (
        r"transformer\.decoder\.layers\.",
        "model.decoder.layers.",
        (
            (".cross_attn.", ".encoder_attn."),
            (".norm1.", ".encoder_attn_layer_norm."),
            (".ca_text.", ".encoder_attn_text."),
            (".catext_norm.", ".encoder_attn_text_layer_norm."),
            (".norm2.", ".self_attn_layer_norm."),
            (".norm3.", ".final_layer_norm."),
            (".linear1.", ".fc1."),
            (".linear2.", ".fc2."),
        ),
    ),
    (r"transformer\.decoder\.norm\.", "model.decoder.layer_norm.", ()),
    (r"transformer\.decoder\.ref_point_head\.", "model.decoder.reference_points_head.", ()),
    (r"transformer\.enc_out_bbox_embed\.", "model.encoder_output_bbox_embed.", ()),
    (r"transformer\.tgt_embed\.", "model.query_position_embeddings.", ()),
    (r"transformer\.", "model.", ()),
    (r"bert\.", "model.text_backbone.", ()),
    (r"feat_map\.", "model.text_projection.", ()),
    (r"input_proj\.", "model.input_proj_vision.", ()),
)

# One matrix for queries, keys and values becomes three.
_FUSED = (
    (
        re.compile(r"\.attention\.qkv\.(weight|bias)$"),
        (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj."),
    ),
    (re.compile(r"\.in_proj_(weight|bias)$"), (".query.", ".key.", ".value.")),
)


def load_original(source: str) -> Any:
    """A `GroundingDinoForObjectDetection` with the weights of an original file.

    Raises:
        SkillFailed: the file is unreadable or holds another model.
    """
    from transformers import GroundingDinoForObjectDetection

    state = read_state(source)
    config = config_of(state)
    return built(GroundingDinoForObjectDetection, config, converted(state), PROJECT)


def converted(state: Mapping[str, Any]) -> dict[str, Any]:
    """The original's tensors under transformers' names."""
    import torch

    named = {name: tensor for key, value in state.items() for name, tensor in _renamed(key, value)}
    # The backbone has a last norm that detection does not use and that the original does not have.
    width = require(state, "backbone.0.norm3.weight", PROJECT)
    named[_SWIN + "layernorm.weight"] = torch.ones_like(width)
    named[_SWIN + "layernorm.bias"] = torch.zeros_like(width)
    return named


def _renamed(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if _UNUSED.search(key):
        return
    name = _transformers_name(key)
    for fused, parts in _FUSED:
        match = fused.search(name)
        if match:
            stem = name[: match.start()]
            yield from ((stem + part + match[1], piece) for part, piece in zip(parts, value.chunk(3), strict=True))
            return
    yield name, value


def _transformers_name(key: str) -> str:
    stage = re.match(r"backbone\.0\.norm(\d+)\.", key)
    if stage:
        # The original counts stages from 0.
        return f"{_BACKBONE}hidden_states_norms.stage{int(stage[1]) + 1}.{key[stage.end() :]}"
    for pattern, prefix, inner in _RENAMED:
        match = re.match(pattern, key)
        if match:
            # The dot before the rest lets an inner name be told from the end of a longer one.
            rest = "." + key[match.end() :]
            for old, new in inner:
                rest = rest.replace(old, new)
            return match.expand(prefix) + rest[1:]
    return key


def config_of(state: Mapping[str, Any]) -> Any:
    """The `GroundingDinoConfig` that a state dict's shapes tell.

    Raises:
        SkillFailed: these are another model's weights.
    """
    from transformers import GroundingDinoConfig

    levels, width = require(state, "transformer.level_embed", PROJECT).shape
    ffn = require(state, "transformer.encoder.layers.0.linear1.weight", PROJECT).shape[0]
    return GroundingDinoConfig(
        backbone_config=_swin_config(state),
        text_config=_bert_config(state),
        num_queries=require(state, "transformer.tgt_embed.weight", PROJECT).shape[0],
        d_model=width,
        num_feature_levels=levels,
        encoder_layers=counted(state, "transformer.encoder.layers."),
        decoder_layers=counted(state, "transformer.decoder.layers."),
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=require(state, "transformer.decoder.layers.0.linear1.weight", PROJECT).shape[0],
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_n_points=_points(state, "transformer.encoder.layers.0.self_attn", levels),
        decoder_n_points=_points(state, "transformer.decoder.layers.0.cross_attn", levels),
    )


def _points(state: Mapping[str, Any], attention: str, levels: int) -> int:
    weights = require(state, f"{attention}.attention_weights.bias", PROJECT)
    return int(weights.shape[0]) // (HEADS * levels)


def _swin_config(state: Mapping[str, Any]) -> Any:
    from transformers import SwinConfig

    stages = counted(state, "backbone.0.layers.")
    tables = [
        require(state, f"backbone.0.layers.{stage}.blocks.0.attn.relative_position_bias_table", PROJECT).shape
        for stage in range(stages)
    ]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    patches = require(state, "backbone.0.patch_embed.proj.weight", PROJECT).shape
    return SwinConfig(
        image_size=window * 32,
        patch_size=patches[-1],
        embed_dim=patches[0],
        depths=[counted(state, f"backbone.0.layers.{stage}.blocks.") for stage in range(stages)],
        num_heads=[table[1] for table in tables],
        window_size=window,
        out_indices=[stage + 1 for stage in range(stages) if f"backbone.0.norm{stage}.weight" in state],
    )


def _bert_config(state: Mapping[str, Any]) -> Any:
    from transformers import BertConfig

    vocabulary, width = require(state, "bert.embeddings.word_embeddings.weight", PROJECT).shape
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=counted(state, "bert.encoder.layer."),
        num_attention_heads=max(1, width // BERT_HEAD_WIDTH),
        intermediate_size=require(state, "bert.encoder.layer.0.intermediate.dense.weight", PROJECT).shape[0],
        max_position_embeddings=require(state, "bert.embeddings.position_embeddings.weight", PROJECT).shape[0],
    )
