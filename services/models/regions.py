"""Closer looks: parts of a picture that a network sees alone, and so larger than it sees them in the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.types import Box, Point

LEAST_SHARE: Final = 0.3
"""Part of the longer side of the picture that a region around something has at least: with nothing around it, a
network no longer knows what it sees."""
OVERLAP: Final = 1.25
"""How much longer tiles are than covering the picture would take: what one cuts through, another has whole."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture in whole pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.right - self.left, self.bottom - self.top

    def cut(self, picture: Image.Image) -> Image.Image:
        """The region as a picture of its own."""
        whole = self.size == picture.size
        return picture if whole else picture.crop((self.left, self.top, self.right, self.bottom))

    def inside(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The region's part of a picture's mask [height, width]."""
        return mask[self.top : self.bottom, self.left : self.right]

    def outside(self, mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
        """A mask of the region as one of the picture of `size` (width, height): empty elsewhere."""
        full = np.zeros((size[1], size[0]), np.bool_)
        full[self.top : self.bottom, self.left : self.right] = mask
        return full

    def scaled(self, size: tuple[int, int], other: tuple[int, int]) -> Region:
        """The region of a picture of `size` (width, height) as one of the same picture at `other`; never empty."""
        (width, height), (new_width, new_height) = size, other
        left, right = _spread(self.left * new_width / width, self.right * new_width / width, new_width)
        top, bottom = _spread(self.top * new_height / height, self.bottom * new_height / height, new_height)
        return Region(left, top, right, bottom)

    def holds(self, point: Point, size: tuple[int, int]) -> bool:
        """Whether a point, in 0..1 of the picture of `size`, lies in the region or on its border."""
        x, y = point[0] * size[0], point[1] * size[1]
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def point(self, point: Point, size: tuple[int, int]) -> Point:
        """Where a point of a picture of `size` lies in the region, both 0..1; the nearest place if it is outside."""
        (x, y), (width, height) = point, self.size
        x, y = (x * size[0] - self.left) / width, (y * size[1] - self.top) / height
        return min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)


def around(box: Box, size: tuple[int, int], factor: float) -> Region:
    """A square around a box, moved and cut so that it lies inside the picture.

    Args:
        box: xyxy in 0..1.
        size: (width, height) of the picture.
        factor: the square's side as a multiple of the box's longer one.
    """
    width, height = size
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    side = math.ceil(max(factor * max(x1 - x0, y1 - y0), LEAST_SHARE * max(size), 1.0))
    left, right = _span((x0 + x1) / 2, side, width)
    top, bottom = _span((y0 + y1) / 2, side, height)
    return Region(left, top, right, bottom)


def tiles(size: tuple[int, int], count: int) -> list[Region]:
    """`count` times `count` overlapping regions of one size that cover a picture of `size` (width, height) together."""
    columns, rows = (_tiled(length, count) for length in size)
    return [Region(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def whole_and_tiles(size: tuple[int, int], count: int) -> list[Region]:
    """All of a picture of `size` (width, height), and from a `count` of 2 on its tiles besides."""
    return [whole(size), *(tiles(size, count) if count > 1 else [])]


def joined(regions: Sequence[Region], maps: Sequence[Any], size: tuple[int, int]) -> Any:
    """What a network said of regions that cover a picture together, as one map: the mean of those that see a place.

    Args:
        maps: tensors [channels, height, width] of any size, one for each region.
        size: (width, height) of the picture.

    Returns:
        A tensor [channels, height, width] at `size`.
    """
    from torch.nn.functional import interpolate

    total = maps[0].new_zeros(len(maps[0]), size[1], size[0])
    seen = maps[0].new_zeros(size[1], size[0])
    for region, found in zip(regions, maps, strict=True):
        rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
        width, height = region.size
        total[:, rows, columns] += interpolate(found[None], (height, width), mode="bilinear", align_corners=False)[0]
        seen[rows, columns] += 1
    return total / seen


def whole(size: tuple[int, int]) -> Region:
    """All of a picture of `size` (width, height)."""
    return Region(0, 0, *size)


def _spread(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(math.floor(start), length - 1)
    return first, min(max(math.ceil(end), first + 1), length)


def _span(middle: float, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    start = min(max(round(middle - side / 2), 0), length - side)
    return start, start + side


def _tiled(length: int, count: int) -> list[tuple[int, int]]:
    side = min(math.ceil(OVERLAP * length / count), length)
    starts = [round(index * (length - side) / max(count - 1, 1)) for index in range(count)]
    return [(start, start + side) for start in starts]
