"""Holes in scenes, each seen as closely as the skill sees it, and the words for what belongs there, for inpainting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.embedded.training.diffusion.networks import CELL
from services.embedded.training.diffusion.paintings import STYLE
from services.embedded.world.concepts import SIGN
from services.embedded.world.language import PLACES, counted
from services.embedded.world.render import SIZE, Rendered, render
from services.embedded.world.scene import sample_scene
from services.models.diffusion.geometry import resized
from services.models.mask_pictures import box_around
from services.models.regions import around
from services.skills.inpainting import cell_mask

FACTORS: Final = (1.25, 1.6)
"""Sides of the squares around holes, from and to, as multiples of the hole's longer side."""
_EMPTY_SHARE: Final = 0.1
"""Holes in nothing but background: so that things can be removed."""
_LEAST_AREA: Final = 0.008
_LEAST_VISIBLE: Final = 0.85
_TRIES: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """A picture uint8 [side, side, 3], where it is to be painted (bool [side, side], whole latent cells), and what."""

    prompt: str
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def sample_hole(rng: np.random.Generator, side: int) -> Hole:
    """A square around a random hole, `side` pixels wide; the hole is around an object in the painter's style, or in
    the background."""
    for _ in range(_TRIES):
        drawn = render(sample_scene(rng, (STYLE,)), SIZE)
        if rng.random() < _EMPTY_SHARE:
            return _seen(str(rng.choice(["nothing", "background", ""])), drawn, _in_background(drawn, rng), side, rng)
        choices = [
            index
            for index, item in enumerate(drawn.objects)
            if item.concept != SIGN and item.area >= _LEAST_AREA and item.visible >= _LEAST_VISIBLE
        ]
        if choices:
            index = choices[int(rng.integers(len(choices)))]
            target = drawn.objects[index]
            what = counted(target.concept, 1, target.colour if rng.random() < 0.8 else None)
            return _seen(what, drawn, _hull(drawn.mask(index), rng), side, rng)
    raise RuntimeError(f"{_TRIES} scenes in a row had no object to paint")


def _seen(what: str, drawn: Rendered, hole: NDArray[np.bool_], side: int, rng: np.random.Generator) -> Hole:
    """The hole as the skill shows it to the network."""
    region = around(box_around(hole), (SIZE, SIZE), float(rng.uniform(*FACTORS)))
    size = (side, side)
    picture = np.asarray(resized(region.cut(Image.fromarray(drawn.image)), size))
    mask = np.asarray(cell_mask(region.inside(hole), size, CELL)) > 0
    return Hole(_placed(what, drawn, rng), picture, mask)


def _in_background(drawn: Rendered, rng: np.random.Generator) -> NDArray[np.bool_]:
    mask = np.zeros((SIZE, SIZE), np.bool_)
    height, width = rng.integers(SIZE // 6, SIZE // 2, size=2)
    top, left = rng.integers(0, SIZE - height), rng.integers(0, SIZE - width)
    mask[top : top + height, left : left + width] = True
    # A hole that touches an object would ask for a part of it; such a hole keeps to the background.
    mask &= drawn.instances == 0
    return mask if mask.any() else drawn.instances == 0


def _placed(what: str, drawn: Rendered, rng: np.random.Generator) -> str:
    """The words alone, or with the background's."""
    ways = PLACES[drawn.scene.background]
    place = ways[int(rng.integers(len(ways)))]
    return what if what and rng.random() < 0.5 else f"{what} {place}".strip()


def _hull(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A region around an object that tells little of its shape: its box, an ellipse, or itself grown."""
    side = len(mask)
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    hull = np.zeros((side, side), np.uint8)
    form = rng.random()
    if form < 0.75:
        x0, y0, x1, y1 = np.array([left, top, left + width, top + height]) + _margins(rng, width, height)
        hull[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)] = 1
    elif form < 0.9:
        centre = (left + width // 2, top + height // 2)
        axes = (int(width * rng.uniform(0.65, 0.9)), int(height * rng.uniform(0.65, 0.9)))
        cv2.ellipse(hull, centre, axes, 0.0, 0.0, 360.0, 1, -1)
    reach = max(2, int(max(width, height) * rng.uniform(0.04, 0.2)))
    grown = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    # An ellipse may cut off corners of the object; what is asked for lies wholly inside the hole.
    return mask | (np.asarray(grown if form >= 0.9 else hull) > 0)


def _margins(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    extent = np.array([-width, -height, width, height])
    margins: NDArray[np.float64] = extent * rng.uniform(0.0, 0.2, 4)
    return margins
