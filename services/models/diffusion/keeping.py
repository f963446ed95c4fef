"""What an edit leaves alone, taken from the given picture: an autoencoder loses fine detail wherever it passes."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from PIL import Image

SOFTNESS: Final = 2.5
"""From this many times the least change on, the painting is shown alone."""
BLUR: Final = 0.012
"""Standard deviation, as a part of the longer side, by which changes are blurred: single pixels decide nothing."""


def kept(given: Image.Image, painted: Image.Image, rebuilt: Image.Image, below: float) -> Image.Image:
    """The painting where it changes something, and the given picture elsewhere, with soft borders between.

    Args:
        given, painted: RGB, of one size.
        rebuilt: what the painter's autoencoder alone makes of `given`, so that its losses count as no change.
        below: mean change of the channels, as a part of full brightness, up to which the given picture stays.
    """
    before, after, lost = (np.asarray(picture.convert("RGB"), np.float32) for picture in (given, painted, rebuilt))
    change = np.abs(after - lost).mean(axis=2) / 255.0
    change = cv2.GaussianBlur(change, (0, 0), max(BLUR * max(given.size), 0.1))
    share = np.clip((change - below) / ((SOFTNESS - 1.0) * below), 0.0, 1.0)
    share = (share * share * (3.0 - 2.0 * share))[..., None]
    mixed = (1.0 - share) * before + share * after
    return Image.fromarray(np.rint(mixed).astype(np.uint8))
