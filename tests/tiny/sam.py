"""A random SAM of 64 pixels, with windows, relative positions and three masks for a point like the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE = 64


def make(folder: Path) -> str:
    from transformers import SamImageProcessor, SamProcessor

    make_model().save_pretrained(folder)
    edge = {"longest_edge": SIDE}
    square = {"height": SIDE, "width": SIDE}
    quarter = {"height": SIDE // 4, "width": SIDE // 4}
    pictures = SamImageProcessor(
        size=edge, pad_size=square, mask_size={"longest_edge": SIDE // 4}, mask_pad_size=quarter
    )
    SamProcessor(pictures).save_pretrained(folder)
    return str(folder)


def make_model() -> Any:
    import torch
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "mlp_dim": 64,
            "image_size": SIDE,
            "patch_size": 8,
            "window_size": 5,
            "global_attn_indexes": [1],
            "output_channels": 32,
            "num_pos_feats": 16,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 8,
            "iou_head_hidden_dim": 32,
        },
    )
    model = SamModel(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "positional_embedding" in name:
                weight.copy_(noise)
            elif weight.dim() > 1:
                weight.copy_(noise / max(1, weight[0].numel()) ** 0.5)
            else:
                weight.copy_(0.1 * noise + ("norm" in name and name.endswith("weight")))
    return model
