"""Mean average precision while training: fast, at one threshold. `llava-plus embedded eval` uses pycocotools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np


def mean_average_precision(
    found: Sequence[tuple[int, int, float, Any]], wanted: Sequence[tuple[int, int, Any]], iou: float
) -> float:
    """Mean over classes of the area under the precision-recall curve (all points).

    Args:
        found: (picture, class, score, box) of each prediction; boxes are xyxy.
        wanted: (picture, class, box) of each object.
        iou: overlap from which a prediction counts as right.
    """
    truth: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for picture, label, box in wanted:
        truth[picture, label].append(box)
    counts: dict[int, int] = defaultdict(int)
    for (_, label), boxes in truth.items():
        counts[label] += len(boxes)
    by_label: dict[int, list[tuple[float, int, Any]]] = defaultdict(list)
    for picture, label, score, box in found:
        by_label[label].append((score, picture, box))
    precisions = [
        _average_precision(sorted(by_label[label], key=lambda item: -item[0]), label, truth, counts[label], iou)
        for label in counts
    ]
    return float(np.mean(precisions)) if precisions else 0.0


def _average_precision(found: Any, label: int, truth: Any, count: int, iou: float) -> float:
    taken: set[tuple[int, int]] = set()
    hits = np.zeros(len(found))
    for index, (_, picture, box) in enumerate(found):
        overlaps = [_iou(box, other) for other in truth.get((picture, label), [])]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= iou and (picture, best) not in taken:
            taken.add((picture, best))
            hits[index] = 1
    if not len(found):
        return 0.0
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    # The precision at a recall is the best one at that recall or beyond.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / count)


def _iou(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inside = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
    return float(inside / max(union, 1e-9))
