"""Signs: boards on a post with one to three words, and how large they must be for the letters to be read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.embedded.world.atlas import Sprite

WORDS: Final[tuple[str, ...]] = tuple((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())
LEAST_LETTERS: Final = 16 / 256
"""Least height of a capital letter, as a share of the picture's side."""
BOARD_PART, LETTER_PART, POST_PART = 1, 2, 3

_FONT_PX: Final = 64
_CAPITAL_PX: Final = 46
_LINE_PX: Final = 62
_PAD_PX: Final = 26
_POST_PX: Final = 54
_DESIGNS: Final = (
    ((255, 255, 255), (20, 20, 20), (20, 20, 20)),
    ((250, 246, 230), (30, 30, 40), (120, 84, 50)),
    ((20, 96, 60), (255, 255, 255), (255, 255, 255)),
    ((24, 70, 150), (255, 255, 255), (255, 255, 255)),
    ((250, 206, 50), (20, 20, 20), (20, 20, 20)),
    ((190, 30, 36), (255, 255, 255), (255, 255, 255)),
    ((176, 126, 74), (40, 22, 8), (90, 58, 28)),
)
"""Board, letters, rim."""
DESIGNS: Final = len(_DESIGNS)


@dataclass(frozen=True, slots=True)
class SignShape:
    """How large a sign is: width and height in heights of a capital letter."""

    width: float
    height: float

    def size_for(self, letters: float) -> float:
        """The longer side of a sign whose capitals are `letters` high (both as shares of the picture)."""
        return letters * max(self.width, self.height)


def sign_shape(text: str) -> SignShape:
    """The shape of the sign that shows `text`, lines separated by newlines."""
    height, width = _drawn(text, 0).rgba.shape[:2]
    return SignShape(width / _CAPITAL_PX, height / _CAPITAL_PX)


@lru_cache(maxsize=512)
def sign_sprite(text: str, design: int, side: int) -> Sprite:
    """A sign whose longer side is `side` pixels, alpha premultiplied; parts are board, letters and post."""
    large = _drawn(text, design)
    height, width = large.rgba.shape[:2]
    scale = side / max(height, width)
    target = (max(round(width * scale), 1), max(round(height * scale), 1))
    rgba = cv2.resize(large.rgba, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    parts = cv2.resize(large.parts, target, interpolation=cv2.INTER_NEAREST)
    return Sprite(np.asarray(rgba, dtype=np.uint8), np.asarray(parts, dtype=np.uint8))


@lru_cache(maxsize=256)
def _drawn(text: str, design: int) -> Sprite:
    lines = text.split("\n")
    board, letters, rim = _DESIGNS[design % DESIGNS]
    font = ImageFont.load_default(_FONT_PX)
    stroke = 2
    width = round(max(font.getlength(line) for line in lines)) + 2 * _PAD_PX
    board_height = _LINE_PX * len(lines) - (_LINE_PX - _CAPITAL_PX) + 2 * _PAD_PX
    picture = Image.new("RGBA", (width, board_height + _POST_PX), (0, 0, 0, 0))
    mask = Image.new("L", picture.size, 0)
    draw, mark = ImageDraw.Draw(picture), ImageDraw.Draw(mask)
    mark.fontmode = "1"
    post = (width // 2 - 9, board_height - 8, width // 2 + 9, board_height + _POST_PX)
    draw.rectangle(post, (112, 90, 70, 255))
    mark.rectangle(post, POST_PART)
    draw.rounded_rectangle((0, 0, width - 1, board_height - 1), 12, (*board, 255), (*rim, 255), 6)
    mark.rounded_rectangle((0, 0, width - 1, board_height - 1), 12, BOARD_PART)
    for row, line in enumerate(lines):
        place = (width / 2, _PAD_PX + _CAPITAL_PX + row * _LINE_PX)
        draw.text(place, line, (*letters, 255), font, anchor="ms", stroke_width=stroke)
        mark.text(place, line, LETTER_PART, font, anchor="ms", stroke_width=stroke)
    rgba: NDArray[np.uint8] = np.asarray(picture).copy()
    rgba[..., :3] = rgba[..., :3] * (rgba[..., 3:] / 255.0)
    return Sprite(rgba, np.asarray(mask))
