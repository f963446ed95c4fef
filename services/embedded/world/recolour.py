"""Colour variants of sprites: the hues around a sprite's main hue are moved to a named colour."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

# Hue in degrees, then the saturation and brightness (0..1) that the main hue's pixels get on average.
_TARGETS: Final = MappingProxyType(
    {
        "red": (0.0, 0.84, 0.86),
        "orange": (27.0, 0.90, 0.97),
        "yellow": (51.0, 0.85, 0.98),
        "green": (122.0, 0.72, 0.68),
        "blue": (216.0, 0.80, 0.88),
        "purple": (276.0, 0.64, 0.72),
        "pink": (330.0, 0.46, 0.98),
    }
)
_HUE_WINDOW_DEGREES: Final = 48.0
_LEAST_SATURATION: Final = 0.12


def recoloured(rgba: NDArray[np.uint8], colour: str) -> NDArray[np.uint8]:
    """A copy of a sprite in another colour.

    Args:
        rgba: [height, width, 4], straight alpha.
        colour: one of `concepts.COLOURS`.

    Returns:
        An array like `rgba`. Pixels of hues far from the main one (a car's windows, a rose's leaves) are unchanged.
    """
    hue, saturation, brightness = _TARGETS[colour]
    hsv = np.asarray(cv2.cvtColor(rgba[..., :3].astype(np.float32) / 255.0, cv2.COLOR_RGB2HSV), dtype=np.float32)
    main = _main_hue(hsv, rgba[..., 3])
    distance = (hsv[..., 0] - main + 180.0) % 360.0 - 180.0
    chosen = (np.abs(distance) < _HUE_WINDOW_DEGREES) & (hsv[..., 1] > _LEAST_SATURATION) & (rgba[..., 3] > 0)
    if not chosen.any():
        return rgba.copy()
    hsv[..., 0] = np.where(chosen, (hue + 0.15 * distance) % 360.0, hsv[..., 0])
    hsv[..., 1] = np.where(chosen, _towards(hsv[..., 1], chosen, saturation), hsv[..., 1])
    hsv[..., 2] = np.where(chosen, _towards(hsv[..., 2], chosen, brightness), hsv[..., 2])
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return np.dstack([np.rint(rgb * 255.0).astype(np.uint8), rgba[..., 3]])


def _main_hue(hsv: NDArray[np.float32], alpha: NDArray[np.uint8]) -> float:
    weight = np.where(hsv[..., 1] > _LEAST_SATURATION, hsv[..., 1] * hsv[..., 2] * alpha, 0.0)
    counts = np.bincount((hsv[..., 0].ravel() // 5).astype(np.int64) % 72, weights=weight.ravel(), minlength=72)
    window = counts + sum(np.roll(counts, shift) for shift in (-3, -2, -1, 1, 2, 3))
    return float(np.argmax(window)) * 5.0 + 2.5


def _towards(values: NDArray[np.float32], chosen: NDArray[np.bool_], mean: float) -> NDArray[np.float32]:
    return np.clip((values - float(values[chosen].mean())) * 0.7 + mean, 0.05, 1.0).astype(np.float32)
