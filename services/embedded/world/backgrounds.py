"""The nine backgrounds, drawn at random from simple shapes; nothing in them looks like one of the concepts."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.embedded.world.brushes import (
    Canvas,
    Colour,
    clouds,
    disc,
    gradient,
    hills,
    jitter,
    specks,
    strokes,
    waves,
    windows,
)

Painter = Callable[[Canvas, np.random.Generator], None]


def draw_background(name: str, seed: int, size: int) -> NDArray[np.uint8]:
    """A background as RGB uint8 [size, size, 3]; name, seed and size decide every pixel.

    Raises:
        KeyError: no background has that name.
    """
    image = np.zeros((size, size, 3), dtype=np.uint8)
    _PAINTERS[name](image, np.random.default_rng([seed, list(_PAINTERS).index(name)]))
    return image


def _beach(image: Canvas, rng: np.random.Generator) -> None:
    sea, sand = rng.uniform(0.28, 0.42), rng.uniform(0.50, 0.64)
    gradient(image, 0.0, sea, jitter(rng, (96, 178, 240)), jitter(rng, (205, 232, 250)))
    _maybe_sun(image, rng, sea)
    clouds(image, rng, sea, int(rng.integers(1, 4)))
    gradient(image, sea, 1.0, jitter(rng, (30, 120, 190)), jitter(rng, (70, 190, 205)))
    waves(image, rng, sea, sand, (225, 245, 250), 14)
    foam = hills(image, rng, sand - 0.015, 0.02, (244, 250, 250))
    hills(image, rng, sand, 0.02, jitter(rng, (238, 214, 160)), shape=foam + 0.025)
    specks(image, rng, sand + 0.05, 1.0, ((214, 186, 130), (250, 232, 190), (196, 168, 120)), 160)


def _grass(image: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.36, 0.52)
    gradient(image, 0.0, 1.0, jitter(rng, (104, 184, 244)), jitter(rng, (222, 240, 252)))
    _maybe_sun(image, rng, horizon)
    clouds(image, rng, horizon, int(rng.integers(1, 4)))
    hills(image, rng, horizon, 0.08, jitter(rng, (130, 190, 110)))
    hills(image, rng, horizon + 0.08, 0.05, jitter(rng, (104, 180, 80)))
    hills(image, rng, horizon + 0.18, 0.03, jitter(rng, (84, 162, 62)))
    strokes(image, rng, horizon + 0.2, 1.0, ((58, 130, 44), (116, 192, 84), (70, 146, 52)), 170, (0, -7))
    specks(image, rng, horizon + 0.2, 1.0, ((255, 255, 255), (250, 222, 90), (240, 170, 200)), 26, radius=1.6)


def _snow(image: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.42, 0.56)
    gradient(image, 0.0, 1.0, jitter(rng, (150, 178, 206)), jitter(rng, (226, 236, 246)))
    _peaks(image, rng, horizon)
    hills(image, rng, horizon, 0.05, jitter(rng, (214, 226, 240), 6))
    hills(image, rng, horizon + 0.12, 0.05, jitter(rng, (228, 238, 247), 5))
    hills(image, rng, horizon + 0.24, 0.04, jitter(rng, (242, 247, 252), 3))
    specks(image, rng, 0.0, 1.0, ((255, 255, 255),), int(rng.integers(70, 150)), radius=1.7)


def _night(image: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.66, 0.8)
    gradient(image, 0.0, 1.0, jitter(rng, (10, 14, 44), 6), jitter(rng, (46, 54, 104), 10))
    specks(image, rng, 0.0, horizon, ((255, 255, 255), (200, 210, 255), (255, 244, 200)), 90, radius=1.1)
    x, y, radius = rng.uniform(0.12, 0.88), rng.uniform(0.1, 0.26), rng.uniform(0.045, 0.075)
    disc(image, x, y, radius * 1.6, (44, 50, 92))
    disc(image, x, y, radius, (244, 240, 208))
    for _ in range(3):
        dx, dy = rng.uniform(-0.55, 0.55, 2) * radius
        disc(image, x + dx, y + dy, radius * rng.uniform(0.1, 0.22), (222, 216, 182))
    hills(image, rng, horizon, 0.07, jitter(rng, (22, 28, 58), 5))
    hills(image, rng, horizon + 0.1, 0.04, jitter(rng, (14, 18, 40), 4))


def _desert(image: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.4, 0.55)
    gradient(image, 0.0, horizon + 0.14, jitter(rng, (240, 168, 92)), jitter(rng, (255, 224, 160)))
    disc(image, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.26), rng.uniform(0.05, 0.085), (255, 244, 204))
    for layer, colour in enumerate(((226, 160, 92), (214, 140, 72), (202, 124, 60))):
        crest = hills(image, rng, horizon + 0.14 * layer, 0.07, jitter(rng, colour, 8), waviness=1.6)
        lit = tuple(min(channel + 22, 255) for channel in colour)
        hills(image, rng, 0.0, 0.0, (lit[0], lit[1], lit[2]), shape=crest + 0.025 + 0.02 * layer)
    strokes(image, rng, horizon + 0.2, 1.0, ((190, 116, 56), (246, 190, 124)), 60, (9, 1))


def _city(image: Canvas, rng: np.random.Generator) -> None:
    size = image.shape[0]
    ground = rng.uniform(0.6, 0.7)
    gradient(image, 0.0, 1.0, jitter(rng, (150, 190, 224)), jitter(rng, (232, 226, 220)))
    for shade, low in ((26, 0.34), (0, 0.2)):
        left = -rng.uniform(0.0, 0.08)
        while left < 1.0:
            width, height = rng.uniform(0.09, 0.19), ground * rng.uniform(low, 0.84 if shade else 0.66)
            wall = jitter(rng, _WALLS[int(rng.integers(len(_WALLS)))], 12)
            colour = (min(wall[0] + shade, 255), min(wall[1] + shade, 255), min(wall[2] + shade, 255))
            corners = (
                (round(left * size), round((ground - height) * size)),
                (
                    round((left + width) * size),
                    round(ground * size),
                ),
            )
            cv2.rectangle(image, *corners, colour, -1)
            windows(image, rng, corners, (250, 226, 150) if rng.random() < 0.3 else (216, 232, 244))
            left += width + rng.uniform(0.0, 0.02)
    gradient(image, ground, ground + 0.07, (176, 174, 172), (160, 158, 156))
    gradient(image, ground + 0.07, 1.0, (92, 94, 100), (70, 72, 78))
    middle, dash = round((ground + 0.07 + (1 - ground - 0.07) * 0.5) * size), max(size // 9, 2)
    for x in range(-int(rng.integers(0, dash * 2)), size, dash * 2):
        cv2.rectangle(image, (x, middle), (x + dash, middle + max(size // 64, 1)), (238, 236, 226), -1)


def _room(image: Canvas, rng: np.random.Generator) -> None:
    size = image.shape[0]
    floor = rng.uniform(0.6, 0.72)
    wall = jitter(rng, _PAINTS[int(rng.integers(len(_PAINTS)))], 10)
    gradient(image, 0.0, floor, wall, wall)
    if rng.random() < 0.5:
        darker = (wall[0] - 12, wall[1] - 12, wall[2] - 12)
        for x in range(0, size, max(size // 9, 2)):
            cv2.rectangle(image, (x, 0), (x + max(size // 20, 1), round(floor * size)), darker, -1)
    _window_or_frame(image, rng, floor)
    wood = jitter(rng, (170, 120, 76), 18)
    gradient(image, floor, 1.0, wood, (wood[0] - 26, wood[1] - 24, wood[2] - 20))
    top, bottom = round(floor * size), size
    for offset in np.linspace(-1.6, 2.6, 17):
        start = (round((0.5 + (offset - 0.5) * 0.55) * size), top)
        cv2.line(
            image, start, (round(offset * size), bottom), (wood[0] - 36, wood[1] - 34, wood[2] - 28), 1, cv2.LINE_AA
        )
    cv2.rectangle(image, (0, top - max(size // 40, 1)), (size, top), (244, 240, 232), -1)
    if rng.random() < 0.6:
        rug = jitter(rng, _PAINTS[int(rng.integers(len(_PAINTS)))], 30)
        centre = (round(rng.uniform(0.3, 0.7) * size), round((floor + 1.0) / 2 * size + size * 0.03))
        axes = (round(rng.uniform(0.26, 0.4) * size), round((1.0 - floor) * 0.33 * size))
        cv2.ellipse(image, centre, axes, 0, 0, 360, (rug[0] - 60, rug[1] - 50, rug[2] - 40), -1, cv2.LINE_AA)
        inner = (axes[0] * 4 // 5, axes[1] * 4 // 5)
        cv2.ellipse(image, centre, inner, 0, 0, 360, (rug[0] - 30, rug[1] - 24, rug[2] - 18), -1, cv2.LINE_AA)


def _underwater(image: Canvas, rng: np.random.Generator) -> None:
    size = image.shape[0]
    sand = rng.uniform(0.78, 0.88)
    gradient(image, 0.0, 1.0, jitter(rng, (64, 186, 214), 12), jitter(rng, (8, 62, 122), 10))
    rays = image.copy()
    for _ in range(int(rng.integers(3, 6))):
        x, spread, lean = rng.uniform(0.0, 1.0), rng.uniform(0.03, 0.09), rng.uniform(-0.3, 0.3)
        corners = np.array([[x, 0.0], [x + spread, 0.0], [x + 2.6 * spread + lean, 0.95], [x - spread + lean, 0.95]])
        cv2.fillPoly(rays, [np.rint(corners * size).astype(np.int32)], (150, 224, 236), cv2.LINE_AA)
    cv2.addWeighted(rays, 0.22, image, 0.78, 0, dst=image)
    hills(image, rng, sand, 0.03, jitter(rng, (150, 160, 130), 12))
    for _ in range(int(rng.integers(3, 8))):
        _seaweed(image, rng, sand)
    for _ in range(int(rng.integers(14, 30))):
        centre = (int(rng.integers(0, size)), int(rng.integers(0, round(sand * size))))
        radius = max(round(rng.uniform(0.006, 0.018) * size), 1)
        cv2.circle(image, centre, radius, (196, 238, 246), 1, cv2.LINE_AA)


def _autumn(image: Canvas, rng: np.random.Generator) -> None:
    size = image.shape[0]
    horizon = rng.uniform(0.42, 0.54)
    gradient(image, 0.0, 1.0, jitter(rng, (214, 206, 196)), jitter(rng, (250, 226, 182)))
    hills(image, rng, horizon, 0.09, jitter(rng, (178, 92, 48)))
    hills(image, rng, horizon + 0.06, 0.06, jitter(rng, (206, 132, 48)))
    hills(image, rng, horizon + 0.16, 0.03, jitter(rng, (164, 110, 52)))
    count = int(rng.integers(120, 170))
    places = rng.uniform((0.0, horizon + 0.14), (1.0, 1.0), (count, 2))
    falling = rng.uniform(0.0, (1.0, horizon + 0.14), (int(rng.integers(22, 36)), 2))
    corner = np.abs(rng.normal(0.0, (0.24, 0.09), (46, 2)))
    if rng.random() < 0.5:
        corner[:, 0] = 1.0 - corner[:, 0]
    for x, y in np.concatenate([places, falling, corner]):
        colour = _LEAVES[int(rng.integers(len(_LEAVES)))]
        axes = (max(round(rng.uniform(0.011, 0.02) * size), 1), max(round(rng.uniform(0.005, 0.01) * size), 1))
        angle = float(rng.uniform(0.0, 180.0))
        cv2.ellipse(image, (round(x * size), round(y * size)), axes, angle, 0, 360, colour, -1, cv2.LINE_AA)


_WALLS: Final[tuple[Colour, ...]] = ((150, 120, 110), (126, 134, 146), (172, 152, 128), (110, 118, 132), (160, 110, 92))
_PAINTS: Final[tuple[Colour, ...]] = (
    (232, 214, 186),
    (196, 214, 204),
    (206, 210, 226),
    (232, 204, 200),
    (220, 220, 212),
)
_LEAVES: Final[tuple[Colour, ...]] = ((200, 70, 30), (228, 130, 34), (236, 178, 54), (160, 60, 30), (190, 110, 40))


def _maybe_sun(image: Canvas, rng: np.random.Generator, horizon: float) -> None:
    if rng.random() < 0.5:
        disc(
            image, rng.uniform(0.08, 0.92), rng.uniform(0.06, 0.5) * horizon, rng.uniform(0.045, 0.07), (255, 240, 170)
        )


def _peaks(image: Canvas, rng: np.random.Generator, horizon: float) -> None:
    size = image.shape[0]
    for _ in range(int(rng.integers(2, 4))):
        x, width, height = rng.uniform(0.0, 1.0), rng.uniform(0.2, 0.36), rng.uniform(0.18, 0.34)
        foot, top = horizon + 0.08, horizon + 0.08 - height
        rock = np.array([[x - width, foot], [x, top], [x + width, foot]])
        share = 0.34
        cap = np.array([[x - width * share, top + height * share], [x, top], [x + width * share, top + height * share]])
        cv2.fillPoly(image, [np.rint(rock * size).astype(np.int32)], jitter(rng, (132, 150, 176), 10), cv2.LINE_AA)
        cv2.fillPoly(image, [np.rint(cap * size).astype(np.int32)], (246, 250, 254), cv2.LINE_AA)


def _window_or_frame(image: Canvas, rng: np.random.Generator, floor: float) -> None:
    size = image.shape[0]
    left, top = rng.uniform(0.06, 0.62), rng.uniform(0.06, 0.14)
    width, height = rng.uniform(0.22, 0.32), rng.uniform(0.5, 0.62) * floor
    x0, y0, x1, y1 = (round(value * size) for value in (left, top, left + width, top + height))
    border = max(size // 50, 1)
    if rng.random() < 0.65:
        cv2.rectangle(image, (x0 - border, y0 - border), (x1 + border, y1 + border), (250, 248, 244), -1)
        cv2.rectangle(image, (x0, y0), (x1, y1), jitter(rng, (160, 208, 240)), -1)
        cv2.line(image, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), (250, 248, 244), border)
        cv2.line(image, (x0, (y0 + y1) // 2), (x1, (y0 + y1) // 2), (250, 248, 244), border)
    else:
        y1 = (y0 + y1) // 2
        cv2.rectangle(image, (x0 - border, y0 - border), (x1 + border, y1 + border), (120, 84, 50), -1)
        cv2.rectangle(image, (x0, y0), (x1, y1), jitter(rng, (226, 222, 206)), -1)
        cv2.line(image, (x0, (y0 + y1) // 2), (x1, (2 * y0 + y1) // 3), jitter(rng, (150, 170, 150)), border * 2)


def _seaweed(image: Canvas, rng: np.random.Generator, sand: float) -> None:
    size = image.shape[0]
    x, height, phase = rng.uniform(0.02, 0.98), rng.uniform(0.08, 0.24), rng.uniform(0.0, 6.3)
    along = np.linspace(0.0, 1.0, 14)
    stem = np.stack([x + 0.018 * np.sin(phase + 7.0 * along), sand + 0.06 - height * along], axis=1)
    colour = jitter(rng, (34, 128, 92), 16)
    cv2.polylines(image, [np.rint(stem * size).astype(np.int32)], False, colour, max(size // 50, 1), cv2.LINE_AA)


_PAINTERS: Final = MappingProxyType[str, Painter](
    {
        "beach": _beach,
        "grass": _grass,
        "snow": _snow,
        "night": _night,
        "desert": _desert,
        "city": _city,
        "room": _room,
        "underwater": _underwater,
        "autumn": _autumn,
    }
)
