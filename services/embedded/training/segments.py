"""The classes of segmentation maps in the embedded world: concepts first, then backgrounds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.embedded.world.concepts import BACKGROUNDS, NAMES
from services.embedded.world.render import Rendered

CLASSES: Final = (*NAMES, *BACKGROUNDS)
"""Class names by id."""
_ID: Final = {name: index for index, name in enumerate(CLASSES)}


def class_map(scene: Rendered, instances: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class id of every pixel.

    Args:
        instances: the scene's, or a view of them: 0 where the background is seen, i + 1 where object i is.
    """
    table = np.full(256, _ID[scene.scene.background], np.uint8)
    table[1 : len(scene.objects) + 1] = [_ID[item.concept] for item in scene.objects]
    ids: NDArray[np.uint8] = table[instances]
    return ids


class ClassIoU:
    """Intersection over union of each class, pixels counted over a whole set of pictures.

    Attributes:
        counts: [classes, classes + 1] pixels by wanted and found id; the last column is "no class".
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes + 1), np.int64)

    def add(self, found: NDArray[np.integer], wanted: NDArray[np.integer]) -> None:
        """Count one picture: two maps of class ids of one shape; a negative id in `found` is no class."""
        classes = len(self.counts)
        column = np.where(found < 0, classes, found).astype(np.int64).ravel()
        cells = wanted.ravel().astype(np.int64) * (classes + 1) + column
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def by_class(self) -> NDArray[np.float64]:
        """[classes] in 0..1; NaN for a class that was never wanted."""
        wanted = self.counts.sum(1)
        right = np.diagonal(self.counts)
        union = wanted + self.counts[:, :-1].sum(0) - right
        return np.where(wanted > 0, right / np.maximum(union, 1), np.nan)

    def mean(self) -> float:
        """Over the classes that were wanted."""
        return float(np.nanmean(self.by_class()))
