"""Masks that come as pictures: what counts as inside, and at which size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.types import Box

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


def box_around(mask: NDArray[np.bool_]) -> Box:
    """The box around a [height, width] mask, xyxy in 0..1; all zero where the mask is empty."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )
