"""Pictures side by side, for a person to look at while training goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 4


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> Image.Image:
    """Rows of equally large RGB pictures [height, width, 3] on one white picture."""
    lines = [np.concatenate([_framed(picture) for picture in row], axis=1) for row in rows]
    return Image.fromarray(np.concatenate(lines, axis=0))


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(picture, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
