"""Pictures on their way into a model: cropped, flipped, tinted, resized, normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from services.models.regions import Region

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OBJECT_AREA_MIN = 0.002
"""Part of the picture below which a cropped object is not asked for."""


@dataclass(frozen=True, slots=True)
class View:
    """A scene as a model sees it: `image` uint8 [side, side, 3], `instances` uint8 [side, side]."""

    image: NDArray[np.uint8]
    instances: NDArray[np.uint8]


def plain_view(image: NDArray[np.uint8], instances: NDArray[np.uint8], side: int) -> View:
    """The whole scene at another size."""
    return View(_resized(image, side), _resized(instances, side, nearest=True))


def varied_view(
    image: NDArray[np.uint8],
    instances: NDArray[np.uint8],
    side: int,
    rng: np.random.Generator,
    *,
    crop_min: float = 0.7,
    flip: bool = True,
) -> View:
    """A square crop of at least `crop_min` of the side, maybe mirrored, in slightly other light."""
    full = image.shape[0]
    part = int(full * rng.uniform(crop_min, 1.0)) if rng.random() < 0.6 else full
    top, left = (int(start) for start in rng.integers(0, full - part + 1, size=2))
    return varied_region(image, instances, Region(left, top, left + part, top + part), side, rng, flip=flip)


def varied_region(
    image: NDArray[np.uint8],
    instances: NDArray[np.uint8],
    region: Region,
    side: int,
    rng: np.random.Generator,
    *,
    flip: bool = True,
) -> View:
    """A square region, maybe mirrored, in slightly other light."""
    window = np.s_[region.top : region.bottom, region.left : region.right]
    image, instances = image[window], instances[window]
    if flip and rng.random() < 0.5:
        image, instances = image[:, ::-1], instances[:, ::-1]
    view = plain_view(np.ascontiguousarray(image), np.ascontiguousarray(instances), side)
    return View(_tinted(view.image, rng), view.instances)


def boxes_of(instances: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Boxes of objects 0..count-1 on their visible pixels: [count, 4], xyxy normalised; zeros where none is visible."""
    height, width = instances.shape
    boxes = np.zeros((count, 4), np.float32)
    for index in range(count):
        mask = instances == index + 1
        if mask.mean() < OBJECT_AREA_MIN:
            continue
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        boxes[index] = columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height
    return boxes


def normalised(images: Any) -> Any:
    """uint8 [batch, height, width, 3] to float [batch, 3, height, width], channels-last, by ImageNet statistics."""
    import torch

    mean = torch.tensor(IMAGENET_MEAN, device=images.device) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device) * 255
    # A permuted view of [batch, height, width, 3] is already channels-last.
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def _resized(array: NDArray[np.uint8], side: int, *, nearest: bool = False) -> NDArray[np.uint8]:
    if array.shape[0] == side:
        return array
    shrinks = side < array.shape[0]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(array, (side, side), interpolation=cv2.INTER_NEAREST if nearest else smooth)
    return resized.astype(np.uint8, copy=False)


def _tinted(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.94, 1.06, size=3)
    shift = rng.uniform(-12, 12)
    levels = np.arange(256, dtype=np.float32)[:, None] * gain + shift
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    return cv2.LUT(image, table).astype(np.uint8, copy=False)
