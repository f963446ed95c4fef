"""Pictures so long and thin that a network cannot take them: a copy of another shape for the network alone."""

from __future__ import annotations

import math

from PIL import Image


def within_ratio(picture: Image.Image, ratio_max: float) -> Image.Image:
    """The picture, or a copy whose short side is stretched, so that long side over short is at most `ratio_max`.

    Normalised coordinates mean the same in both.
    """
    width, height = picture.size
    shortest = math.ceil(max(width, height) / ratio_max)
    if min(width, height) >= shortest:
        return picture
    return picture.resize((max(width, shortest), max(height, shortest)), Image.Resampling.BILINEAR)
