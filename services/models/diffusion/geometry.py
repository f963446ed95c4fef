"""Sizes that a pipeline can paint, and pictures brought to them and back."""

from __future__ import annotations

import math

from PIL import Image

Size = tuple[int, int]
"""Width and height in pixels."""

STRETCH_MAX = 4
"""A side is at most this many times the square's, and at least the square's over it."""


def working_size(size: Size, *, side: int, multiple: int) -> Size:
    """The size to paint at for a picture of `size`: about `side * side` pixels in its aspect ratio.

    Models paint well only near the area they were trained at. Aspect ratios beyond `STRETCH_MAX` squared are
    flattened to it, so that no picture can make a side vanish or grow without bound.

    Args:
        multiple: both sides are multiples of it (what a latent cell covers).
    """
    scale = side / math.sqrt(size[0] * size[1])
    smallest = max(multiple, side // STRETCH_MAX)

    def snapped(length: int) -> int:
        bounded = min(max(length * scale, smallest), side * STRETCH_MAX)
        return max(multiple, round(bounded / multiple) * multiple)

    return snapped(size[0]), snapped(size[1])


def resized(picture: Image.Image, size: Size) -> Image.Image:
    """A photograph or painting at another size."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def resized_labels(picture: Image.Image, size: Size) -> Image.Image:
    """A mask or segmentation map at another size: no colours are mixed."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.NEAREST)
