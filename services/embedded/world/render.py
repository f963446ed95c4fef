"""Draws a scene and labels it: the picture, which object each visible pixel belongs to, parts and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from services.embedded.world.atlas import Atlas, Sprite
from services.embedded.world.backgrounds import draw_background
from services.embedded.world.concepts import SIGN
from services.embedded.world.scene import Scene, SceneObject
from services.embedded.world.signs import sign_sprite
from services.embedded.world.sprites import load_atlas

SIZE: Final = 256
LEAST_VISIBLE: Final = 0.35
"""An object of which less can be seen is left out of the scene."""
_LEAST_VISIBLE_SIGN: Final = 0.96
_LEAST_AREA: Final = 0.0015
_SHADOW: Final = 0.34
_NOISE_SIDE: Final = 1024
_NOISE_DEVIATION: Final = 32.0
_TINTS: Final = MappingProxyType(
    {
        "night": (0.74, 0.77, 0.94, 1.0),
        "underwater": (0.80, 0.95, 1.0, 1.0),
        "autumn": (1.0, 0.97, 0.90, 1.0),
        "desert": (1.0, 0.97, 0.92, 1.0),
    }
)
"""What the light of a background does to red, green and blue of the objects in it."""


@dataclass(frozen=True, slots=True)
class SeenObject:
    """What can be seen of one object.

    Attributes:
        concept, colour, text, group: as in `SceneObject`.
        box: xyxy, normalised, tight around the visible pixels.
        area: visible pixels as a share of the picture.
        visible: visible pixels as a share of the whole object, up to 1.
    """

    concept: str
    colour: str | None
    text: str | None
    group: int | None
    box: tuple[float, float, float, float]
    area: float
    visible: float


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A drawn scene with exact labels.

    Attributes:
        scene: what was drawn; objects that were nearly hidden are gone from it.
        image: RGB uint8 [size, size, 3].
        instances: uint8 [size, size]: 0 background, i + 1 where object i is seen.
        parts: uint8 [size, size]: 0 background, else the part (1 to 4) of the object seen there.
        objects: one for each of `scene.objects`, in the same order.
    """

    scene: Scene
    image: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    objects: tuple[SeenObject, ...]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Where object `index` is seen, [size, size]."""
        found: NDArray[np.bool_] = self.instances == index + 1
        return found

    def group_mask(self, index: int) -> NDArray[np.bool_]:
        """Where any object of the same group as object `index` is seen; its own mask without a group."""
        group = self.objects[index].group
        if group is None:
            return self.mask(index)
        members = [number + 1 for number, item in enumerate(self.objects) if item.group == group]
        found: NDArray[np.bool_] = np.isin(self.instances, members)
        return found

    def part_masks(self, index: int) -> list[NDArray[np.bool_]]:
        """Where the parts of object `index` are seen, one mask for each part with a visible pixel."""
        own = np.where(self.mask(index), self.parts, 0)
        return [own == part for part in np.unique(own).tolist() if part]


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """An object's pixels inside the picture: rows and columns from (top, left)."""

    item: SceneObject
    top: int
    left: int
    rgba: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    whole_area: float


def render(scene: Scene, size: int = SIZE, atlas: Atlas | None = None) -> Rendered:
    """Draw a scene at [size, size]; the same scene, size and atlas give the same pixels.

    Objects of which less than `LEAST_VISIBLE` can be seen, and tiny ones, are taken out of the scene, so that every
    label can be seen and nothing that can be seen lacks a label.

    Raises:
        WorldNotReady: no atlas is given, and the shared one is missing and cannot be built.
    """
    atlas = load_atlas() if atlas is None else atlas
    patches = [_patch(item, size, atlas) for item in scene.objects]
    kept = [patch for patch in patches if patch is not None]
    instances, counts = _instances(kept, size)
    while kept and (worst := _least_seen(kept, counts, size)) is not None:
        del kept[worst]
        instances, counts = _instances(kept, size)
    image = draw_background(scene.background, scene.background_seed, size)
    parts = np.zeros((size, size), dtype=np.uint8)
    tint = _TINTS.get(scene.background)
    for patch in kept:
        if scene.background != "underwater":
            _shade(image, patch)
        _blend(image, patch, tint)
        rows, columns = _window(patch)
        np.copyto(parts[rows, columns], patch.parts, where=patch.inside)
    drawn = replace(scene, objects=tuple(patch.item for patch in kept))
    return Rendered(
        drawn,
        _developed(image, scene),
        instances,
        parts,
        seen_objects(drawn, instances, [patch.whole_area for patch in kept]),
    )


def seen_objects(scene: Scene, instances: NDArray[np.uint8], whole_areas: Sequence[float]) -> tuple[SeenObject, ...]:
    """Boxes and areas of a scene's objects, from its instance map."""
    height, width = instances.shape
    found = []
    for index, (item, whole) in enumerate(zip(scene.objects, whole_areas, strict=True)):
        mask = (instances == index + 1).view(np.uint8)
        left, top, across, down = cv2.boundingRect(mask)
        pixels = cv2.countNonZero(mask)
        box = (left / width, top / height, (left + across) / width, (top + down) / height)
        found.append(
            SeenObject(
                item.concept,
                item.colour,
                item.text,
                item.group,
                box,
                pixels / (width * height),
                min(pixels / max(whole, 1.0), 1.0),
            )
        )
    return tuple(found)


def _patch(item: SceneObject, size: int, atlas: Atlas) -> _Patch | None:
    """The object's pixels, or None where it lies outside the picture."""
    side = item.size * size
    sprite = _sprite(item, side, atlas)
    height, width = sprite.parts.shape
    scale = side / max(height, width)
    turn = np.deg2rad(item.angle)
    cosine, sine = float(np.cos(turn)) * scale, float(np.sin(turn)) * scale
    half_x = (abs(cosine) * width + abs(sine) * height) / 2
    half_y = (abs(sine) * width + abs(cosine) * height) / 2
    left, right = max(int(item.x * size - half_x), 0), min(int(item.x * size + half_x) + 1, size)
    top, bottom = max(int(item.y * size - half_y), 0), min(int(item.y * size + half_y) + 1, size)
    if right <= left or bottom <= top:
        return None
    mirror = -1.0 if item.flip else 1.0
    # Sprite pixel (u, v) -> patch pixel: mirrored about the sprite's middle, scaled, turned, moved to the centre.
    matrix = np.array(
        [
            [cosine * mirror, sine, item.x * size - left - 0.5],
            [-sine * mirror, cosine, item.y * size - top - 0.5],
        ]
    )
    matrix[:, 2] -= matrix[:, :2] @ np.array([(width - 1) / 2, (height - 1) / 2])
    target = (right - left, bottom - top)
    rgba = np.asarray(cv2.warpAffine(sprite.rgba, matrix, target, flags=cv2.INTER_LINEAR), dtype=np.uint8)
    parts = np.asarray(cv2.warpAffine(sprite.parts, matrix, target, flags=cv2.INTER_NEAREST), dtype=np.uint8)
    inside = rgba[..., 3] > 127
    return _Patch(item, top, left, rgba, np.maximum(parts, inside), inside, sprite.area * scale * scale)


def _sprite(item: SceneObject, side: float, atlas: Atlas) -> Sprite:
    if item.concept == SIGN:
        return sign_sprite(item.text or "", item.design, max(round(side), 1))
    return atlas.sprite(item.style, item.concept, item.colour, side)


def _window(patch: _Patch) -> tuple[slice, slice]:
    height, width = patch.parts.shape
    return slice(patch.top, patch.top + height), slice(patch.left, patch.left + width)


def _instances(patches: Sequence[_Patch], size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The instance map and how many pixels each of its values has."""
    instances = np.zeros((size, size), dtype=np.uint8)
    for number, patch in enumerate(patches, start=1):
        rows, columns = _window(patch)
        instances[rows, columns][patch.inside] = number
    return instances, np.bincount(instances.ravel(), minlength=len(patches) + 1)


def _least_seen(patches: Sequence[_Patch], counts: NDArray[np.int64], size: int) -> int | None:
    """The object that is hidden most among those that are hidden too much."""
    margins = [
        min(
            float(counts[number]) / max(patch.whole_area, 1.0)
            - (_LEAST_VISIBLE_SIGN if patch.item.concept == SIGN else LEAST_VISIBLE),
            float(counts[number]) / (size * size) - _LEAST_AREA,
        )
        for number, patch in enumerate(patches, start=1)
    ]
    worst = int(np.argmin(margins))
    return worst if margins[worst] < 0.0 else None


def _blend(image: NDArray[np.uint8], patch: _Patch, tint: tuple[float, float, float, float] | None) -> None:
    rows, columns = _window(patch)
    rgba = patch.rgba if tint is None else np.asarray(cv2.transform(patch.rgba, np.diag(tint)), dtype=np.uint8)
    behind = cv2.merge([255 - rgba[..., 3]] * 3)
    below = cv2.multiply(image[rows, columns], behind, scale=1.0 / 255.0)
    image[rows, columns] = cv2.add(below, np.ascontiguousarray(rgba[..., :3]))


def _shade(image: NDArray[np.uint8], patch: _Patch) -> None:
    """A soft shadow under what can be seen of the object."""
    size = image.shape[0]
    x, y, across, down = cv2.boundingRect(patch.inside.view(np.uint8))
    width, height = max(round(across * 1.04), 2), max(round(across * 0.27), 2)
    left, top = round(patch.left + x + across / 2 - width / 2), round(patch.top + y + down - height * 0.62)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
    if x1 <= x0 or y1 <= y0:
        return
    blob = cv2.resize(_blob(), (width, height), interpolation=cv2.INTER_LINEAR)
    light = cv2.merge([np.ascontiguousarray(blob[y0 - top : y1 - top, x0 - left : x1 - left])] * 3)
    image[y0:y1, x0:x1] = cv2.multiply(image[y0:y1, x0:x1], light, scale=1.0 / 255.0)


def _developed(image: NDArray[np.uint8], scene: Scene) -> NDArray[np.uint8]:
    """Brightness and noise, as of a camera."""
    size = image.shape[0]
    share = scene.noise / _NOISE_DEVIATION
    noise = np.resize(_noise(), (size, size, 3)) if size > _NOISE_SIDE // 2 else _noise_window(scene, size)
    return np.asarray(cv2.addWeighted(image, scene.gain, noise, share, scene.bias - 128.0 * share), dtype=np.uint8)


def _noise_window(scene: Scene, size: int) -> NDArray[np.uint8]:
    top, left = scene.background_seed % 509, scene.background_seed // 509 % 509
    return np.ascontiguousarray(_noise()[top : top + size, left : left + size])


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.uint8]:
    values = np.random.default_rng(0).normal(128.0, _NOISE_DEVIATION, (_NOISE_SIDE, _NOISE_SIDE, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _blob() -> NDArray[np.uint8]:
    """How much light a shadow leaves: 255 at its rim, less towards its middle."""
    rows, columns = np.mgrid[-1.0:1.0:32j, -1.0:1.0:64j]
    depth = np.clip(1.0 - rows**2 - columns**2, 0.0, 1.0) * _SHADOW
    light: NDArray[np.uint8] = np.rint(255.0 * (1.0 - depth)).astype(np.uint8)
    return light
