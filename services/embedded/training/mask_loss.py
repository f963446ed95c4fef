"""Losses of masks, one value a mask: last two dimensions are height and width."""

from __future__ import annotations

import torch


def focal(logits: torch.Tensor, wanted: torch.Tensor, gamma: float = 2.0) -> torch.Tensor:
    """Focal loss (arXiv 1708.02002) averaged over pixels; `wanted` in 0..1 may be soft."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    off = (logits.sigmoid() - wanted).abs()
    return (off**gamma * entropy).mean((-2, -1))


def dice(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Dice loss, 0 for a perfect mask."""
    found = logits.sigmoid()
    shared = (found * wanted).sum((-2, -1))
    return 1 - (2 * shared + 1) / (found.sum((-2, -1)) + wanted.sum((-2, -1)) + 1)


def soft_iou(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Intersection over union of the thresholded masks; carries no gradient."""
    found, truth = logits > 0, wanted > 0.5
    return (found & truth).sum((-2, -1)) / (found | truth).sum((-2, -1)).clamp(min=1)
