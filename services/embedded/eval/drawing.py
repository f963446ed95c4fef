"""Boxes, masks and names drawn on pictures, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

RIGHT: Final[Colour] = (30, 150, 60)
WRONG: Final[Colour] = (215, 35, 35)
MISSED: Final[Colour] = (225, 150, 0)
PROMPT: Final[Colour] = (30, 110, 230)
SHADES: Final[tuple[Colour, ...]] = (
    (230, 60, 60),
    (50, 130, 240),
    (60, 180, 80),
    (240, 170, 30),
    (160, 80, 210),
    (240, 110, 180),
    (20, 180, 190),
    (150, 110, 60),
)
"""Colours of masks, in turn."""
_LABEL_PX: Final = 12
_TINT: Final = 0.38


@lru_cache(maxsize=4)
def font(pixels: int) -> Any:
    return ImageFont.load_default(pixels)


def with_boxes(picture: Image.Image, boxes: Iterable[tuple[Sequence[float], str, Colour]]) -> Image.Image:
    """The picture with boxes (xyxy in 0..1) and a name in each's corner."""
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    labels = []
    for box, name, colour in boxes:
        x0, y0, x1, y1 = (round(value * (side - 1)) for value, side in zip(box, picture.size * 2, strict=True))
        draw.rectangle((x0, y0, max(x1, x0), max(y1, y0)), outline=colour, width=2)
        # Names of right boxes above, others below: boxes of both kinds often lie on one another.
        top = {WRONG: y1 + 1, MISSED: y1 - _LABEL_PX - 4}.get(colour, y0 - _LABEL_PX - 3)
        labels.append(((x0, top), name, colour))
    # Names over all boxes, so that they can be read.
    for place, name, colour in labels:
        _label(draw, picture.size, place, name, colour)
    return drawn


def with_masks(picture: Image.Image, masks: Iterable[tuple[NDArray[np.bool_], str, Colour]]) -> Image.Image:
    """The picture tinted and outlined where masks [height, width] are, a name in the middle of each."""
    pixels = np.array(picture.convert("RGB"))
    named = []
    for mask, name, colour in masks:
        if not mask.any():
            continue
        tinted = (1 - _TINT) * pixels[mask] + _TINT * np.array(colour)
        pixels[mask] = tinted.astype(np.uint8)
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(pixels, outlines, -1, colour, 1)
        named.append((centre(mask), name, colour))
    drawn = Image.fromarray(pixels)
    draw = ImageDraw.Draw(drawn)
    for (x, y), name, colour in named:
        half = round(font(_LABEL_PX).getlength(name) / 2) + 2 if name else 0
        _label(draw, picture.size, (x - half, y - _LABEL_PX // 2), name, colour)
    return drawn


def with_points(picture: Image.Image, points: Iterable[Sequence[float]]) -> Image.Image:
    """The picture with a dot at each point (xy in 0..1)."""
    drawn = picture.copy()
    draw = ImageDraw.Draw(drawn)
    for x, y in points:
        left, top = x * picture.width, y * picture.height
        draw.ellipse((left - 4, top - 4, left + 4, top + 4), fill="white", outline=PROMPT, width=2)
    return drawn


def with_title(picture: Image.Image, title: str) -> Image.Image:
    """The picture with a word in its corner that says what it is."""
    drawn = picture.copy()
    _label(ImageDraw.Draw(drawn), picture.size, (0, picture.height), title, (60, 60, 60))
    return drawn


def centre(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The (x, y) of a mask's pixel that is furthest from its edge."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(column), int(row)


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], place: tuple[int, int], name: str, colour: Colour) -> None:
    if not name:
        return
    width, height = round(font(_LABEL_PX).getlength(name)) + 4, _LABEL_PX + 3
    left = min(max(place[0], 0), max(size[0] - width, 0))
    top = min(max(place[1], 0), size[1] - height)
    draw.rectangle((left, top, left + width, top + height), fill=colour)
    draw.text((left + 2, top + 1), name, fill="white", font=font(_LABEL_PX))
