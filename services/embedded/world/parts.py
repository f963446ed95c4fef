"""Parts of a sprite: regions of like colour and place, for masks of several granularities."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_PARTS: Final = 4
_LEAST_SHARE: Final = 0.07
_LEAST_COLOUR_STEP: Final = 16.0
_PLACE_WEIGHT: Final = 22.0


def part_map(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Split a sprite into at most `MOST_PARTS` regions; the same sprite gives the same regions.

    Args:
        rgba: [height, width, 4], straight alpha.

    Returns:
        uint8 [height, width]: 0 outside the sprite, 1.. for its parts, the largest first. Regions smaller than 7% of
        the sprite belong to a neighbour, so that plain sprites have a single part.
    """
    inside = rgba[..., 3] > 127
    if not inside.any():
        return np.zeros(inside.shape, dtype=np.uint8)
    lab = cv2.cvtColor(rgba[..., :3].astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    rows, columns = np.nonzero(inside)
    place = np.stack([rows, columns], axis=1) / max(inside.shape) * _PLACE_WEIGHT
    labels = _cluster(np.concatenate([lab[inside], place], axis=1).astype(np.float32))
    smooth = np.zeros(inside.shape, dtype=np.uint8)
    smooth[inside] = labels + 1
    smooth = np.where(inside, np.maximum(cv2.medianBlur(smooth, 5), np.where(smooth > 0, 1, 0)), 0).astype(np.uint8)
    return _by_size(smooth)


def _cluster(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """K-means from far-apart first centres (no randomness), then clusters that are small or alike are joined."""
    centres = [points.mean(axis=0)]
    nearest = np.linalg.norm(points - centres[0], axis=1)
    centres = [points[int(nearest.argmin())]]
    while len(centres) < MOST_PARTS:
        nearest = np.min([np.linalg.norm(points - centre, axis=1) for centre in centres], axis=0)
        # Not the very farthest point: it is often a stray pixel of an outline.
        far = np.argsort(nearest)[int(0.97 * (len(nearest) - 1))]
        centres.append(points[int(far)])
    kept = np.stack(centres)
    labels = _assign(points, kept)
    for _ in range(8):
        kept = np.stack(
            [points[labels == k].mean(axis=0) if (labels == k).any() else kept[k] for k in range(len(kept))]
        )
        labels = _assign(points, kept)
    while len(kept) > 1:
        shares = np.bincount(labels, minlength=len(kept)) / len(labels)
        smallest = int(shares.argmin())
        if shares[smallest] < _LEAST_SHARE:
            kept = np.delete(kept, smallest, axis=0)
            labels = _assign(points, kept)
            continue
        steps = np.linalg.norm(kept[:, None, :3] - kept[None, :, :3], axis=2) + np.eye(len(kept)) * 1e3
        one, other = np.unravel_index(int(steps.argmin()), steps.shape)
        if steps[one, other] >= _LEAST_COLOUR_STEP:
            break
        # Shades of one colour are one part: where a gradient is cut would be arbitrary.
        labels = np.where(labels == other, one, labels)
        labels = np.where(labels > other, labels - 1, labels)
        kept = np.stack([points[labels == k].mean(axis=0) for k in range(len(kept) - 1)])
    return labels


def _assign(points: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    distances = ((points[:, None, :] - centres[None]) ** 2).sum(axis=2)
    nearest: NDArray[np.int64] = distances.argmin(axis=1)
    return nearest


def _by_size(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    sizes = np.bincount(labels.ravel(), minlength=MOST_PARTS + 1)
    sizes[0] = 0
    order = [int(label) for label in np.argsort(-sizes, kind="stable") if sizes[label] > 0]
    lookup = np.zeros(256, dtype=np.uint8)
    for new, old in enumerate(order, start=1):
        lookup[old] = new
    return lookup[labels]
