"""Masks that come as pictures: what counts as inside, and at which size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INSIDE_ABOVE = 127
"""A pixel of a mask picture is inside where any channel is brighter than this (0 to 255)."""


def inside(mask: Image.Image, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask picture as a [height, width] array, True inside.

    Args:
        mask: RGB or grey picture, bright inside.
        size: (width, height) in pixels of the picture that the mask belongs to; a mask of another size is resized
            to it by nearest neighbour.
    """
    pixels = np.asarray(mask.convert("RGB")).max(axis=2)
    sized = Image.fromarray(pixels)
    if sized.size != size:
        sized = sized.resize(size, Image.Resampling.NEAREST)
    return np.asarray(sized) > INSIDE_ABOVE
