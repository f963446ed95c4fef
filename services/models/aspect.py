"""Pictures so long and thin that a network cannot take them: a copy of another shape for the network alone."""

from __future__ import annotations

import math

from PIL import Image

LONGEST_MAX = 4096
"""Pixels that the long side of such a copy has at most: no network looks at more, and a thread of 200,000 pixels by one
would be stretched to a thousand million."""


def within_ratio(picture: Image.Image, ratio_max: float) -> Image.Image:
    """The picture, or a copy whose short side is stretched, so that long side over short is at most `ratio_max`.

    Normalised coordinates mean the same in both.
    """
    width, height = picture.size
    if min(width, height) >= math.ceil(max(width, height) / ratio_max):
        return picture
    longest = min(max(width, height), LONGEST_MAX)
    shortest = max(1, math.ceil(longest / ratio_max))
    size = (longest, shortest) if width > height else (shortest, longest)
    return picture.resize(size, Image.Resampling.BILINEAR)
