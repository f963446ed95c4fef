"""The loss of multi-label tagging, and how tags that were found compare with those wanted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from services.embedded.training.pictures import OBJECT_AREA_MIN
from services.embedded.training.segments import CLASSES

UNKNOWN = -1
"""In place of 0 or 1: whether the picture has this tag is not asked."""


def asymmetric_loss(logits: torch.Tensor, wanted: torch.Tensor, gamma_negative: float) -> torch.Tensor:
    """Asymmetric loss (arXiv 2009.14119): summed over tags, averaged over pictures.

    The many absent tags weigh less the surer the model is of them. RAM shifts their scores by 0.05 besides, which
    spares the model where it is sure and wrong: right where labels may be wrong, and slow where they are exact.

    Args:
        logits: [batch, tags].
        wanted: [batch, tags], 1, 0 or `UNKNOWN`.
        gamma_negative: how much less; 7 in RAM.
    """
    softplus = torch.nn.functional.softplus
    # The weight is no way for the gradient to make the loss small.
    absent = softplus(logits) * logits.detach().sigmoid() ** gamma_negative
    loss = torch.where(wanted == 1, softplus(-logits), absent).masked_fill(wanted == UNKNOWN, 0.0)
    return loss.sum(1).mean()


def shown_tags(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which tags a class map shows: [tags] of 1 and 0, `UNKNOWN` for what shows too little of itself."""
    areas = np.bincount(classes.ravel(), minlength=len(CLASSES)) / classes.size
    return np.where(areas >= OBJECT_AREA_MIN, 1, np.where(areas > 0, UNKNOWN, 0))


def best_threshold(scores: NDArray[np.float32], wanted: NDArray[np.bool_]) -> float:
    """The threshold with the highest F1 over all pictures and tags, to 2 decimals."""
    candidates = np.arange(5, 100) / 100
    return float(candidates[int(np.argmax([f1(scores > threshold, wanted) for threshold in candidates]))])


def f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """F1 of tags, counted over all pictures [pictures, tags]."""
    right = int((found & wanted).sum())
    return 2 * right / max(int(found.sum()) + int(wanted.sum()), 1)


def macro_f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """F1 of each tag that any picture has, averaged over tags."""
    asked = wanted.any(0)
    return float(np.mean([f1(found[:, tag], wanted[:, tag]) for tag in np.flatnonzero(asked)])) if asked.any() else 0.0
