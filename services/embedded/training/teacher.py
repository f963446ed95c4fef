"""The trunk as a teacher: what it sees in each cell of a picture, which a transformer from scratch is slow to find.

A class a cell says little; a vector of features says what the cell looks like, too (FitNets, arXiv 1412.6550).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.functional import layer_norm, mse_loss

from services.embedded.training.trunk import STAGES, STRIDES, load_trunk, trunk_config


class TrunkTeacher:
    """The published trunk, frozen. It is no part of the model that learns, nor of that model's checkpoint.

    Args:
        checkpoint: folder of the recipe `trunk`'s checkpoint.
        strides: the maps that are taught, of 8, 16 and 32 pixels.
    """

    def __init__(self, checkpoint: Path, strides: Sequence[int] = STRIDES) -> None:
        from transformers import ResNetBackbone

        backbone = ResNetBackbone(trunk_config(tuple(STAGES[STRIDES.index(stride)] for stride in strides)))
        load_trunk(backbone, checkpoint)
        self._backbone = backbone.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.channels: tuple[int, ...] = tuple(backbone.channels)

    def __call__(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Features of the cells, [batch, side, side, channels] a stride; each cell's have mean 0 and deviation 1."""
        with torch.no_grad():
            return self.look(pictures)

    def look(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """The same, with a gradient that reaches the pictures: for a model that makes pictures."""
        if self._backbone.device != pictures.device:
            self._backbone.to(pictures.device)
        maps = self._backbone(pictures).feature_maps
        return [layer_norm(grid.permute(0, 2, 3, 1).float(), grid.shape[1:2]) for grid in maps]


def likeness_loss(said: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean squared error of each map, averaged over maps: 1 for a student that knows nothing."""
    return torch.stack([mse_loss(one.float(), other) for one, other in zip(said, wanted, strict=True)]).mean()
