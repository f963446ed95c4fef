"""The tiny ResNet that detection and segmentation start from (recipe `trunk`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

STAGES = ("stage2", "stage3", "stage4")
STRIDES = (8, 16, 32)


def trunk_config(stages: tuple[str, ...] = STAGES) -> Any:
    """The `ResNetConfig`: strides 8, 16 and 32 come out, with 64, 128 and 192 channels, unless `stages` says else."""
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 192],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=list(stages),
    )


def load_trunk(backbone: torch.nn.Module, checkpoint: Path) -> None:
    """Fill a `ResNetBackbone` (batch norms may be frozen ones) with the recipe's weights."""
    from safetensors.torch import load_file

    weights = {name: value.float() for name, value in load_file(checkpoint / "model.safetensors").items()}
    known = backbone.state_dict()
    result = backbone.load_state_dict({name: value for name, value in weights.items() if name in known}, strict=False)
    if result.missing_keys:
        raise ValueError(f"The trunk in {checkpoint} lacks {result.missing_keys[:3]}.")


def thaw_batch_norms(module: torch.nn.Module) -> None:
    """Put trainable batch norms where transformers' detectors have frozen ones.

    A ResNet from scratch trains better and, in mixed precision, three times faster with them: the frozen
    ones compute in float32. Names and values in the state dict stay the same but for `num_batches_tracked`.
    """
    for name, child in module.named_children():
        if type(child).__name__.endswith("FrozenBatchNorm2d"):
            norm = torch.nn.BatchNorm2d(child.weight.shape[0])
            norm.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, norm)
        else:
            thaw_batch_norms(child)


def without_thawed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict that fits the module with its frozen batch norms again."""
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
