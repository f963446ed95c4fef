"""From mask classification to a map of class ids, within bounded memory.

A mask classifier (MaskFormer, arXiv 2107.06278; Mask2Former, arXiv 2112.01527) gives for each query a distribution
over classes and a mask. A pixel's score for a class is the sum over queries of class probability times mask
probability; the class with the highest score takes it. Scores are formed at the network's input size, like the
original's, and enlarged to the picture's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.models.regions import Region, joined

SCORES_MAX = 1 << 26
"""Most class scores (classes x height x width) held at once: 256 MB of float32."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a mask classifier said of a picture or a part of it.

    Attributes:
        region: the part.
        class_logits, mask_logits, grid: as `semantic_map` takes them.
    """

    region: Region
    class_logits: Any
    mask_logits: Any
    grid: tuple[int, int]


def semantic_map_of(looks: Sequence[Look], size: tuple[int, int]) -> Any:
    """The best class of every pixel, from one look at the whole picture and, perhaps, closer ones that cover it.

    Scores of the whole and of the parts count alike.

    Args:
        looks: the whole picture's first.
        size: (height, width) of the picture.

    Returns:
        A [height, width] tensor of class ids (int64) at `size`.
    """
    first, *closer = looks
    if not closer:
        return semantic_map(first.class_logits, first.mask_logits, first.grid, size)
    classes = first.class_logits.shape[-1] - 1
    shrink = min(1.0, math.sqrt(SCORES_MAX / (classes * size[0] * size[1])))
    width, height = max(1, int(size[1] * shrink)), max(1, int(size[0] * shrink))
    parts = [look.region.scaled((size[1], size[0]), (width, height)) for look in looks]
    scores = [class_scores(look.class_logits.float(), look.mask_logits.float(), look.grid) for look in looks]
    both = [joined(parts[some], scores[some], (width, height)) for some in (slice(1), slice(1, None))]
    return _largest(both[0] + both[1], size)


def semantic_map(class_logits: Any, mask_logits: Any, grid: tuple[int, int], size: tuple[int, int]) -> Any:
    """The best class of every pixel.

    Args:
        class_logits: [queries, classes + 1], the last being "no object".
        mask_logits: [queries, height, width] at the network's output stride.
        grid: (height, width) of the network's input.
        size: (height, width) of the picture.

    Returns:
        A [height, width] tensor of class ids (int64) at `size`.
    """
    return _largest(class_scores(class_logits.float(), mask_logits.float(), grid), size)


def _largest(scores: Any, size: tuple[int, int]) -> Any:
    """The class with the highest score at every pixel of `size` (height, width)."""
    if tuple(scores.shape[1:]) == size:
        return scores.argmax(dim=0)
    if len(scores) * size[0] * size[1] <= SCORES_MAX:
        return _enlarged(scores, size).argmax(dim=0)
    return _argmax_in_parts(scores, size)


def class_scores(class_logits: Any, mask_logits: Any, grid: tuple[int, int]) -> Any:
    """[classes, height, width] at `grid`, or at a smaller size of the same shape where that would not fit."""
    import torch

    height, width = grid
    needed = max(class_logits.shape) * height * width
    if needed > SCORES_MAX:
        shrink = math.sqrt(SCORES_MAX / needed)
        height, width = max(1, int(height * shrink)), max(1, int(width * shrink))
    inside = _enlarged(mask_logits, (height, width)).sigmoid()
    return torch.einsum("qc,qhw->chw", class_logits.softmax(dim=-1)[:, :-1], inside)


def _enlarged(maps: Any, size: tuple[int, int]) -> Any:
    from torch.nn.functional import interpolate

    return interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def _argmax_in_parts(scores: Any, size: tuple[int, int]) -> Any:
    """`_enlarged(scores, size).argmax(0)`, a few classes at a time, without those that cannot win anywhere."""
    import torch

    contenders = _contenders(scores)
    best: Any = None
    for part in contenders.split(max(1, SCORES_MAX // (size[0] * size[1]))):
        value, index = _enlarged(scores[part], size).max(dim=0)
        if best is None:
            best, winner = value, part[index]
        else:
            winner = torch.where(value > best, part[index], winner)
            best = torch.maximum(best, value)
    return winner


def _contenders(scores: Any) -> Any:
    """Ids of the classes that can win some pixel after bilinear resizing.

    A resized pixel mixes a 2x2 block of its neighbours, so that a class whose highest score around a place is below
    the surest score of another there (its lowest) loses every pixel of that place.
    """
    from torch.nn.functional import max_pool2d

    highest = max_pool2d(scores, 3, stride=1, padding=1)
    surest = -max_pool2d(-scores, 3, stride=1, padding=1)
    return (highest >= surest.max(dim=0).values).flatten(1).any(dim=1).nonzero()[:, 0]
