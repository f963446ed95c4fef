"""Original SAM files (https://github.com/facebookresearch/segment-anything) as transformers models.

Published are `sam_vit_b_01ec64.pth`, `sam_vit_l_0b3195.pth` and `sam_vit_h_4b8939.pth`. The configuration is read off
the tensors' shapes; only the number of heads of the mask decoder cannot be seen there and is the project's constant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from services.models.original_files import built, counted, read_state, require

PROJECT = "segment-anything"
DECODER_HEADS = 8
DECODER_NORM_EPS = 1e-5
"""PyTorch's default, which the original's decoder uses; transformers' own default is another."""

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"\.blocks\.(\d+)\.norm", r".layers.\1.layer_norm"),
    (r"\.blocks\.", ".layers."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.transformer\.layers\.(\d+)\.norm", r".transformer.layers.\1.layer_norm"),
    (r"\.transformer\.norm_final_attn\.", ".transformer.layer_norm_final_attn."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
)
_MLP = re.compile(r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head)\.)layers\.(\d+)\.")
_POSITIONS = "shared_image_embedding.positional_embedding"


def load_original(source: str) -> Any:
    """A `SamModel` with the weights of an original file.

    Raises:
        SkillFailed: the file is unreadable or holds another model.
    """
    from transformers import SamModel

    state = read_state(source)
    return built(SamModel, config_of(state), converted(state), PROJECT)


def converted(state: Mapping[str, Any]) -> dict[str, Any]:
    """The original's tensors under transformers' names."""
    named = {_transformers_name(key, state): value for key, value in state.items()}
    if _POSITIONS in named:
        # One matrix, which the prompt encoder shares.
        named["prompt_encoder.shared_embedding.positional_embedding"] = named[_POSITIONS]
    return named


def _transformers_name(key: str, state: Mapping[str, Any]) -> str:
    match = _MLP.match(key)
    if match:
        at, layer = match[1], int(match[2])
        last = counted(state, f"{at}layers.") - 1
        name = "proj_in" if layer == 0 else "proj_out" if layer == last else f"layers.{layer - 1}"
        return f"{at}{name}.{key[match.end() :]}"
    for pattern, replacement in _RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def config_of(state: Mapping[str, Any]) -> Any:
    """The `SamConfig` that a state dict's shapes tell.

    Raises:
        SkillFailed: these are another model's weights.
    """
    from transformers import SamConfig

    def shape(key: str) -> tuple[int, ...]:
        return tuple(require(state, key, PROJECT).shape)

    width, _, _, patch = shape("image_encoder.patch_embed.proj.weight")
    grid = shape("image_encoder.pos_embed")[1]
    prompt_width = shape("prompt_encoder.no_mask_embed.weight")[1]
    return SamConfig(
        vision_config=_vision_config(state, width, grid, patch),
        prompt_encoder_config={
            "hidden_size": prompt_width,
            "image_size": grid * patch,
            "patch_size": patch,
            "mask_input_channels": shape("prompt_encoder.mask_downscaling.3.weight")[0],
            "num_point_embeddings": counted(state, "prompt_encoder.point_embeddings."),
        },
        mask_decoder_config={
            "hidden_size": prompt_width,
            "mlp_dim": shape("mask_decoder.transformer.layers.0.mlp.lin1.weight")[0],
            "num_hidden_layers": counted(state, "mask_decoder.transformer.layers."),
            "num_attention_heads": DECODER_HEADS,
            "attention_downsample_rate": prompt_width
            // shape("mask_decoder.transformer.final_attn_token_to_image.q_proj.weight")[0],
            "num_multimask_outputs": shape("mask_decoder.mask_tokens.weight")[0] - 1,
            "iou_head_depth": counted(state, "mask_decoder.iou_prediction_head.layers."),
            "iou_head_hidden_dim": shape("mask_decoder.iou_prediction_head.layers.0.weight")[0],
            "layer_norm_eps": DECODER_NORM_EPS,
        },
    )


def _vision_config(state: Mapping[str, Any], width: int, grid: int, patch: int) -> dict[str, Any]:
    """Blocks whose table of relative positions spans the whole grid attend globally, the others within windows."""
    depth = counted(state, "image_encoder.blocks.")
    tables = [require(state, f"image_encoder.blocks.{block}.attn.rel_pos_h", PROJECT).shape for block in range(depth)]
    spans = [(int(table[0]) + 1) // 2 for table in tables]
    return {
        "hidden_size": width,
        "image_size": grid * patch,
        "patch_size": patch,
        "num_hidden_layers": depth,
        "num_attention_heads": width // int(tables[0][1]),
        "mlp_dim": require(state, "image_encoder.blocks.0.mlp.lin1.weight", PROJECT).shape[0],
        "output_channels": require(state, "image_encoder.neck.0.weight", PROJECT).shape[0],
        "window_size": min(spans),
        "global_attn_indexes": [block for block, span in enumerate(spans) if span == grid],
        "num_pos_feats": require(state, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", PROJECT).shape[
            1
        ],
    }
