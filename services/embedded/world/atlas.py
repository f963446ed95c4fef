"""The sprite atlas: every concept in every style as one small file, and scaled copies of sprites for fast drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.embedded.world.parts import part_map
from services.embedded.world.recolour import recoloured

SIDE: Final = 128
"""Width and height of a sprite in the atlas, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """One picture to draw.

    Attributes:
        rgba: uint8 [height, width, 4], alpha premultiplied.
        parts: uint8 [height, width], 0 outside, parts from 1.
        area: how many pixels are inside (alpha above 127).
    """

    rgba: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    area: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", int(np.count_nonzero(self.rgba[..., 3] > 127)))


class Atlas:
    """Sprites by style, concept, colour and size.

    Args:
        styles, concepts: names of the first two axes of `sprites`.
        sprites: uint8 [styles, concepts, SIDE, SIDE, 4], straight alpha, each centred with its longer side filling
            nearly the whole square.
        parts: uint8 [styles, concepts, SIDE, SIDE] as `parts.part_map` gives it.
    """

    def __init__(
        self, styles: Sequence[str], concepts: Sequence[str], sprites: NDArray[np.uint8], parts: NDArray[np.uint8]
    ) -> None:
        expected = (len(styles), len(concepts), SIDE, SIDE)
        if sprites.shape != (*expected, 4) or parts.shape != expected:
            raise ValueError(f"sprites are {sprites.shape} and parts {parts.shape}, expected {expected} and 4 channels")
        self.styles = tuple(styles)
        self.concepts = tuple(concepts)
        self.sprites = sprites
        self.parts = parts
        self._style_index = {name: index for index, name in enumerate(self.styles)}
        self._concept_index = {name: index for index, name in enumerate(self.concepts)}
        # A cache per atlas: about 4,000 sprites of 20 to 85 KB.
        self._scaled = lru_cache(maxsize=4096)(self._make)

    @classmethod
    def from_sprites(cls, styles: Sequence[str], concepts: Sequence[str], sprites: NDArray[np.uint8]) -> Atlas:
        """An atlas with the parts worked out."""
        parts = np.stack([np.stack([part_map(sprite) for sprite in row]) for row in sprites])
        return cls(styles, concepts, sprites, parts)

    @classmethod
    def load(cls, path: Path) -> Atlas:
        with np.load(path, allow_pickle=False) as data:
            return cls(
                [str(name) for name in data["styles"]],
                [str(name) for name in data["concepts"]],
                data["sprites"],
                data["parts"],
            )

    def save(self, path: Path) -> None:
        """Write one compressed npz file; it appears under its name only when it is whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npz")
        np.savez_compressed(
            partial,
            styles=np.array(self.styles),
            concepts=np.array(self.concepts),
            sprites=self.sprites,
            parts=self.parts,
        )
        partial.replace(path)

    def straight(self, style: str, concept: str, colour: str | None = None) -> NDArray[np.uint8]:
        """The sprite as uint8 [SIDE, SIDE, 4] with straight alpha.

        Raises:
            KeyError: the atlas has no such style or concept.
        """
        rgba: NDArray[np.uint8] = self.sprites[self._style_index[style], self._concept_index[concept]]
        return rgba if colour is None else recoloured(rgba, colour)

    def sprite(self, style: str, concept: str, colour: str | None, side: float) -> Sprite:
        """The smallest copy (SIDE, SIDE/2, SIDE/4, ...) that is at least `side` pixels wide."""
        level = 0
        while level < 3 and SIDE >> (level + 1) >= side:
            level += 1
        return self._scaled(style, concept, colour, level)

    def _make(self, style: str, concept: str, colour: str | None, level: int) -> Sprite:
        rgba = self.straight(style, concept, colour).astype(np.float32)
        rgba[..., :3] *= rgba[..., 3:] / 255.0
        parts = self.parts[self._style_index[style], self._concept_index[concept]]
        side = SIDE >> level
        if level:
            rgba = np.asarray(cv2.resize(rgba, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32)
            parts = np.asarray(cv2.resize(parts, (side, side), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        return Sprite(np.rint(rgba).astype(np.uint8), np.ascontiguousarray(parts))
