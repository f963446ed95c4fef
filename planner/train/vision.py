"""A fresh vision tower and projector, for a planner whose tower is not trained yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.language_model import language_model
from planner.model import llava_config

GEOMETRY = {
    "vision_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 128,
        "patch_size": 32,
        "projection_dim": 64,
    },
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
"""128 pixels in patches of 32: 16 tokens a picture. Mean and deviation are CLIP's."""

SIGNAL = 0.01
"""Size of a picture's own signal beside the neutral embedding."""


def initialise_vision(weights: Path, seed: int) -> None:
    """Write `vision_config.json` and `vision.safetensors` into `weights`, unless they are there already."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlavaForConditionalGeneration

    if (weights / "vision.safetensors").is_file():
        return
    weights.mkdir(parents=True, exist_ok=True)
    (weights / "vision_config.json").write_text(json.dumps(GEOMETRY, indent=2) + "\n", encoding="utf-8")
    text_config, state = language_model()
    torch.manual_seed(seed)
    model: Any = LlavaForConditionalGeneration(llava_config(text_config | {"num_hidden_layers": 1}, weights))
    projector = model.model.multi_modal_projector
    neutral = state["model.embed_tokens.weight"].mean(dim=0)
    with torch.no_grad():
        projector.linear_2.bias.copy_(neutral)
        projector.linear_2.weight.normal_(std=1.0 / projector.linear_2.in_features**0.5)
        probe = projector.linear_2(projector.act(projector.linear_1(torch.randn(64, 64)))) - neutral
        projector.linear_2.weight.mul_(SIGNAL * neutral.std() / probe.std())
    kept = {
        key.removeprefix("model."): tensor.half().contiguous()
        for key, tensor in model.state_dict().items()
        if "vision_tower" in key or "multi_modal_projector" in key
    }
    save_file(kept, weights / "vision.safetensors", metadata={"format": "pt"})
