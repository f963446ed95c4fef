"""Scenes for a painter to learn from: one sprite style, few and large objects, nothing turned or mirrored.

A prompt does not say where things are, how they are turned or in which style they are drawn. All that a prompt leaves
open must be learned from far more pictures, so paintings leave little open; they are still scenes of the world.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.embedded.world.concepts import BACKGROUNDS, SPRITE_NAMES
from services.embedded.world.scene import Scene, SceneObject, sample_colour, sample_concept

STYLE: Final = "fluent3d"
_COUNT_WEIGHTS: Final = (0.85, 0.11, 0.04)
_SIZES: Final = ((0.5, 0.58), (0.36, 0.42), (0.25, 0.3))
_DISTANCES: Final = (0.0, 0.46, 0.31)
"""Least and largest size of each object, and how far apart places are, by the number of objects; shares of the side."""
_HEIGHT: Final = 0.58
_SPREAD: Final = 0.015
"""How far objects stand from their places."""
_BACKGROUND_SEEDS: Final = 16
_FITTING_SHARE: Final = 0.3
"""How often a concept is one that the world puts on the background: a prompt may put anything anywhere."""


def sample_painting(rng: np.random.Generator) -> Scene:
    """A scene of 1 to 3 different things side by side."""
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    count = int(rng.choice(len(_COUNT_WEIGHTS), p=_COUNT_WEIGHTS)) + 1
    names: list[str] = []
    while len(names) < count:
        fitting = rng.random() < _FITTING_SHARE
        name = sample_concept(rng, background) if fitting else SPRITE_NAMES[int(rng.integers(len(SPRITE_NAMES)))]
        if name not in names:
            names.append(name)
    least, largest = _SIZES[count - 1]
    objects = tuple(
        SceneObject(
            concept=name,
            style=STYLE,
            colour=sample_colour(rng, name),
            x=0.5 + (place - (count - 1) / 2) * _DISTANCES[count - 1] + float(rng.uniform(-_SPREAD, _SPREAD)),
            y=_HEIGHT + float(rng.uniform(-_SPREAD, _SPREAD)),
            size=float(rng.uniform(least, largest)),
        )
        for place, name in enumerate(names)
    )
    return Scene(background, int(rng.integers(_BACKGROUND_SEEDS)), objects)
