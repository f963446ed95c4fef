"""A fresh projector, and a fresh vision tower for a planner that has none yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.language_model import language_model
from planner.model import llava_config
from planner.vision import CONFIG, FILE
from services.core.checkpoints import checkpoint_source

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


def initialise_vision(weights: Path, seed: int, tower: str | None = None) -> None:
    """Write `vision_config.json` and `vision.safetensors` into `weights`, unless they are there already.

    Args:
        tower: a CLIP checkpoint such as `embedded:clip`, named and not copied; None for a random tower.

    Raises:
        SkillFailed: the tower's checkpoint is not there.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import LlavaForConditionalGeneration

    if (weights / FILE).is_file():
        return
    if tower is not None:
        checkpoint_source(tower)
    weights.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = GEOMETRY if tower is None else {"tower": tower, "feature_layer": -2}
    (weights / CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    text_config, state = language_model()
    torch.manual_seed(seed)
    model: Any = LlavaForConditionalGeneration(llava_config(text_config | {"num_hidden_layers": 1}, weights))
    projector = model.model.multi_modal_projector
    _make_neutral(projector, state["model.embed_tokens.weight"].mean(dim=0))
    parts = ("multi_modal_projector",) if tower is not None else ("multi_modal_projector", "vision_tower")
    kept = {
        key.removeprefix("model."): tensor.half().contiguous()
        for key, tensor in model.state_dict().items()
        if any(part in key for part in parts)
    }
    save_file(kept, weights / FILE, metadata={"format": "pt"})
    (weights / FILE).chmod(0o644)  # it is written readable by its owner alone


def _make_neutral(projector: Any, neutral: Any) -> None:
    """Let every picture be a few neutral tokens at first: it cannot disturb the text before it means anything."""
    import torch

    with torch.no_grad():
        projector.linear_2.bias.copy_(neutral)
        projector.linear_2.weight.normal_(std=1.0 / projector.linear_2.in_features**0.5)
        probe = torch.randn(64, projector.linear_1.in_features)
        seen = projector.linear_2(projector.act(projector.linear_1(probe))) - neutral
        projector.linear_2.weight.mul_(SIGNAL * neutral.std() / seen.std())
