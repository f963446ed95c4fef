"""Shapes that backgrounds are drawn with. Places are fractions of the picture's side; colours are RGB 0..255.

All draw in place into a square uint8 RGB canvas and take what varies from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]


def jitter(rng: np.random.Generator, colour: Colour, by: int = 14) -> Colour:
    """A colour near `colour`: lighter or darker as a whole, and a little off in each channel."""
    shift = int(rng.integers(-by, by + 1))
    own = rng.integers(-by // 2, by // 2 + 1, 3)
    red, green, blue = (
        int(min(max(channel + shift + int(off), 0), 255)) for channel, off in zip(colour, own, strict=True)
    )
    return red, green, blue


def gradient(image: Canvas, top: float, bottom: float, first: Colour, last: Colour) -> None:
    """Fill the rows between two heights with a vertical gradient."""
    size = image.shape[0]
    start, end = max(round(top * size), 0), min(round(bottom * size), size)
    if end > start:
        rows = np.linspace(first, last, end - start)
        image[start:end] = np.rint(rows).astype(np.uint8)[:, None, :]


def hills(
    image: Canvas,
    rng: np.random.Generator,
    height: float,
    swing: float,
    colour: Colour,
    *,
    waviness: float = 1.0,
    shape: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Fill what lies below a wavy line, drawn anew or given as `shape`; returns the line's height at 33 places."""
    across = np.linspace(0.0, 1.0, 33)
    if shape is None:
        phases, counts = rng.uniform(0.0, 6.3, 3), waviness * rng.uniform(3.0, 9.0, 3)
        shape = height + swing * (np.sin(phases[:, None] + counts[:, None] * across) / 2.2).mean(axis=0) * 2.0
    size = image.shape[0]
    points = np.concatenate([np.stack([across, shape], axis=1), [[1.0, 1.1], [0.0, 1.1]]])
    # Four fractional bits keep a slow slope free of steps.
    cv2.fillPoly(image, [np.rint(points * size * 16).astype(np.int32)], colour, cv2.LINE_AA, shift=4)
    return shape


def clouds(image: Canvas, rng: np.random.Generator, bottom: float, count: int) -> None:
    """White clouds above `bottom`."""
    size = image.shape[0]
    for _ in range(count):
        x, y, width = rng.uniform(0.0, 1.0), rng.uniform(0.08, 0.75) * bottom, rng.uniform(0.05, 0.09)
        for dx, dy, share in ((-1.1, 0.15, 0.6), (0.0, 0.0, 1.0), (1.1, 0.15, 0.7), (0.5, -0.25, 0.7)):
            centre = (round((x + dx * width) * size), round((y + dy * width) * size))
            axes = (max(round(width * share * size), 1), max(round(width * share * 0.55 * size), 1))
            cv2.ellipse(image, centre, axes, 0, 0, 360, (250, 252, 255), -1, cv2.LINE_AA)


def disc(image: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    size = image.shape[0]
    cv2.circle(image, (round(x * size), round(y * size)), max(round(radius * size), 1), colour, -1, cv2.LINE_AA)


def specks(
    image: Canvas,
    rng: np.random.Generator,
    top: float,
    bottom: float,
    colours: Sequence[Colour],
    count: int,
    radius: float = 0.9,
) -> None:
    """Small dots; `radius` is in pixels of a picture of 256."""
    size = image.shape[0]
    places = np.rint(rng.uniform((0.0, top), (1.0, bottom), (count, 2)) * (size - 1)).astype(int)
    radii = rng.uniform(0.5, 1.0, count) * radius * size / 256
    chosen = rng.integers(0, len(colours), count)
    for (x, y), one, which in zip(places.tolist(), radii.tolist(), chosen.tolist(), strict=True):
        if one < 0.75:
            image[min(y, size - 1), min(x, size - 1)] = colours[which]
        else:
            cv2.circle(image, (x, y), max(round(one), 1), colours[which], -1, cv2.LINE_AA)


def strokes(
    image: Canvas,
    rng: np.random.Generator,
    top: float,
    bottom: float,
    colours: Sequence[Colour],
    count: int,
    reach: tuple[int, int],
) -> None:
    """Short lines such as blades of grass; `reach` is their extent in pixels of a picture of 256."""
    size = image.shape[0]
    places = np.rint(rng.uniform((0.0, top), (1.0, bottom), (count, 2)) * size).astype(int)
    bends = rng.integers(-2, 3, count)
    chosen = rng.integers(0, len(colours), count)
    for (x, y), bend, which in zip(places.tolist(), bends.tolist(), chosen.tolist(), strict=True):
        end = (x + round((reach[0] + bend) * size / 256), y + round(reach[1] * size / 256))
        cv2.line(image, (x, y), end, colours[which], 1, cv2.LINE_AA)


def waves(image: Canvas, rng: np.random.Generator, top: float, bottom: float, colour: Colour, count: int) -> None:
    """Short light arcs on water, wider towards the bottom."""
    size = image.shape[0]
    for x, depth in rng.uniform(0.0, 1.0, (count, 2)).tolist():
        y, width = top + 0.02 + depth * (bottom - top - 0.04), 0.015 + 0.03 * depth
        axes = (max(round(width * size), 1), max(round(width * 0.3 * size), 1))
        cv2.ellipse(image, (round(x * size), round(y * size)), axes, 0, 200, 340, colour, 1, cv2.LINE_AA)


def windows(
    image: Canvas, rng: np.random.Generator, corners: tuple[tuple[int, int], tuple[int, int]], colour: Colour
) -> None:
    """A grid of windows on the front of a house, some of them dark."""
    (x0, y0), (x1, y1) = corners
    size = image.shape[0]
    step, side = max(size // 26, 3), max(size // 56, 1)
    for y in range(y0 + step // 2, y1 - side, step):
        for x in range(x0 + step // 2, x1 - side, step):
            if rng.random() < 0.82:
                image[max(y, 0) : max(y + side + 1, 0), max(x, 0) : max(x + side, 0)] = colour
