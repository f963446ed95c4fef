"""A small atlas of drawn shapes, so that tests of the embedded world need neither npm nor a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from services.embedded.world.atlas import SIDE, Atlas
from services.embedded.world.concepts import SPRITE_NAMES, TRAIN_STYLES
from services.embedded.world.parts import part_map

_SHAPES = 7


@lru_cache(maxsize=4)
def shapes_atlas(styles: Sequence[str] = TRAIN_STYLES[:2]) -> Atlas:
    """Every concept in `styles`, as one of seven two-coloured shapes."""
    shapes = [_shape(number) for number in range(_SHAPES)]
    parts = [part_map(shape) for shape in shapes]
    which = [[(style + concept) % _SHAPES for concept in range(len(SPRITE_NAMES))] for style in range(len(styles))]
    return Atlas(styles, SPRITE_NAMES, np.stack(shapes)[which], np.stack(parts)[which])


def _shape(number: int) -> np.ndarray:
    picture = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    inset = 2 + 4 * number
    draw.ellipse((2, inset, SIDE - 3, SIDE - 3 - inset), (200, 40 + 20 * number, 50, 255))
    draw.rectangle((SIDE // 2, SIDE // 4 + 6, SIDE - 24, SIDE // 2), (60, 70, 200, 255))
    return np.asarray(picture)
