"""The loss of networks that say what covers each cell of a picture."""

from __future__ import annotations

import torch

SAMPLE_STRIDE = 4
"""Pixels between those whose class a cell is asked for; a cell at stride 16 is asked for 16."""


def cover_loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of cells [batch, side, side, tags] with how much each class covers of them.

    Args:
        classes: class maps [batch, height, width], looked at every `SAMPLE_STRIDE` pixels.
    """
    side = logits.shape[1]
    sampled = classes[:, SAMPLE_STRIDE // 2 :: SAMPLE_STRIDE, SAMPLE_STRIDE // 2 :: SAMPLE_STRIDE].long()
    cell = sampled.shape[1] // side
    covered = sampled.unflatten(2, (side, cell)).unflatten(1, (side, cell)).transpose(2, 3).flatten(3)
    return -logits.log_softmax(-1).gather(-1, covered).mean()
