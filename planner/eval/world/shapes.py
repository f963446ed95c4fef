"""How well boxes and masks fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.core.types import MaskRLE

Box = Sequence[float]


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two xyxy boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (_area(one) + _area(other) - both)


def matched(found: Sequence[Box], wanted: Sequence[Box], least: float = 0.5) -> int:
    """How many of `wanted` have a box of their own among `found`, the best pairs first."""
    pairs = sorted(
        ((iou(box, other), first, second) for first, box in enumerate(found) for second, other in enumerate(wanted)),
        reverse=True,
    )
    used_found, used_wanted = set[int](), set[int]()
    for likeness, first, second in pairs:
        if likeness >= least and first not in used_found and second not in used_wanted:
            used_found.add(first)
            used_wanted.add(second)
    return len(used_wanted)


def boxes_are(found: Sequence[Box], wanted: Sequence[Box], least_f1: float = 0.8) -> str:
    """ "" where the boxes are those wanted: F1 at an intersection over union of 0.5."""
    if not found or not wanted:
        return "" if not found and not wanted else f"{len(found)} boxes for {len(wanted)} things"
    right = matched(found, wanted)
    f1 = 2 * right / (len(found) + len(wanted))
    return "" if f1 >= least_f1 else f"{right} of {len(wanted)} things among {len(found)} boxes"


def mask_of(codes: Sequence[dict[str, Any]]) -> NDArray[np.bool_] | None:
    """The union of masks given as COCO run-length codes; None of none."""
    masks = [MaskRLE.model_validate(code).to_array() for code in codes]
    return np.logical_or.reduce(masks) if masks else None


def mask_is(found: NDArray[np.bool_] | None, wanted: Sequence[NDArray[np.bool_]], least: float = 0.5) -> str:
    """ "" where the mask is one of those wanted, by intersection over union."""
    if found is None:
        return "no mask"
    best = max((mask_iou(found, mask) for mask in wanted), default=0.0)
    return "" if best >= least else f"another mask (overlap {best:.2f})"


def mask_iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    if one.shape != other.shape:
        return 0.0
    either = np.logical_or(one, other).sum()
    return float(np.logical_and(one, other).sum() / either) if either else 0.0


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
