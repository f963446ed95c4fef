"""The arithmetic of figures that no library counts for us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Tally:
    """Right, found and wanted things, counted over many pictures (micro average)."""

    right: int = 0
    found: int = 0
    wanted: int = 0

    def add(self, found: Iterable[Hashable], wanted: Iterable[Hashable]) -> None:
        """Count one picture. Things that occur several times count as often as both have them."""
        found_counts, wanted_counts = Counter(found), Counter(wanted)
        self.right += (found_counts & wanted_counts).total()
        self.found += found_counts.total()
        self.wanted += wanted_counts.total()

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        return f1(self.right, self.found, self.wanted)


def f1(right: int, found: int, wanted: int) -> float:
    """The harmonic mean of precision and recall; 1 where nothing was wanted and nothing found."""
    return 2 * right / (found + wanted) if found + wanted else 1.0


def mask_iou(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both masks are empty."""
    union = int((found | wanted).sum())
    return int((found & wanted).sum()) / union if union else 1.0


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of xyxy boxes; 0 where one has no area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    both = width * height
    return both / (box_area(one) + box_area(other) - both)


def box_area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def mean(values: Iterable[Any]) -> float:
    """The mean as a plain float; NaN of nothing."""
    numbers = [float(value) for value in values]
    return float(np.mean(numbers)) if numbers else float("nan")
