"""Scenes with a hole in them and the words for what belongs there, for inpainting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.embedded.training.diffusion.networks import CELL
from services.embedded.training.diffusion.paintings import STYLE, sample_painting
from services.embedded.world.concepts import SIGN
from services.embedded.world.language import PLACES, counted
from services.embedded.world.render import Rendered, render
from services.embedded.world.scene import Scene, sample_scene

_PAINTING_SHARE: Final = 0.4
_EMPTY_SHARE: Final = 0.15
"""Holes in nothing but background: so that things can be removed."""
_LEAST_AREA: Final = 0.02
_TRIES: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Hole:
    """A picture uint8 [side, side, 3], where it is to be painted (bool [side, side], whole latent cells), and what."""

    prompt: str
    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def sample_hole(rng: np.random.Generator, side: int) -> Hole:
    """A random hole around one object, or in the background. What belongs into it is drawn in the painter's style."""
    for _ in range(_TRIES):
        scene = sample_painting(rng) if rng.random() < _PAINTING_SHARE else sample_scene(rng)
        if rng.random() < _EMPTY_SHARE:
            return _in_background(render(scene, side), rng)
        found = _around_object(scene, rng, side)
        if found is not None:
            return found
    raise RuntimeError(f"{_TRIES} scenes in a row had no object to paint")


def _around_object(scene: Scene, rng: np.random.Generator, side: int) -> Hole | None:
    choices = [index for index, item in enumerate(scene.objects) if item.concept != SIGN]
    if not choices:
        return None
    index = choices[int(rng.integers(len(choices)))]
    target = replace(scene.objects[index], style=STYLE)
    drawn = render(replace(scene, objects=(*scene.objects[:index], target, *scene.objects[index + 1 :])), side)
    if target not in drawn.scene.objects:
        return None
    index = drawn.scene.objects.index(target)
    if drawn.objects[index].area < _LEAST_AREA:
        return None
    what = counted(target.concept, 1, target.colour if rng.random() < 0.8 else None)
    return Hole(_placed(what, drawn, rng), drawn.image, whole_cells(_hull(drawn.mask(index), rng)))


def _in_background(drawn: Rendered, rng: np.random.Generator) -> Hole:
    side = len(drawn.image)
    mask = np.zeros((side, side), np.bool_)
    height, width = rng.integers(side // 6, side // 2, size=2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    mask[top : top + height, left : left + width] = True
    # A hole that touches an object would ask for a part of it; such a hole keeps to the background.
    mask &= drawn.instances == 0
    if not mask.any():
        mask = drawn.instances == 0
    return Hole(_placed(str(rng.choice(["nothing", "background", ""])), drawn, rng), drawn.image, whole_cells(mask))


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
    if form < 0.45:
        x0, y0, x1, y1 = np.array([left, top, left + width, top + height]) + _margins(rng, width, height)
        hull[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)] = 1
    elif form < 0.7:
        centre = (left + width // 2, top + height // 2)
        axes = (int(width * rng.uniform(0.65, 0.9)), int(height * rng.uniform(0.65, 0.9)))
        cv2.ellipse(hull, centre, axes, 0.0, 0.0, 360.0, 1, -1)
    reach = max(2, int(max(width, height) * rng.uniform(0.04, 0.2)))
    grown = cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    # An ellipse may cut off corners of the object; what is asked for lies wholly inside the hole.
    return mask | (np.asarray(grown if form >= 0.7 else hull) > 0)


def _margins(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    extent = np.array([-width, -height, width, height])
    margins: NDArray[np.float64] = extent * rng.uniform(0.02, 0.25, 4)
    return margins


def whole_cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask grown to whole latent cells, as the skill does."""
    cells = mask.reshape(len(mask) // CELL, CELL, -1, CELL).any(axis=(1, 3))
    grown: NDArray[np.bool_] = cells.repeat(CELL, axis=0).repeat(CELL, axis=1)
    return grown
