"""Average precision by pycocotools, from detections in memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from services.core.types import Box, MaskRLE

IOU = 0.5
Kind = Literal["bbox", "segm"]


@dataclass(frozen=True, slots=True)
class Instance:
    """An object in picture `picture`, of class `label` (both from 0); `score` is a detection's.

    `mask` is needed for "segm"; all pictures have its size.
    """

    picture: int
    label: int
    box: Box
    mask: MaskRLE | None = None
    score: float = 1.0


def average_precision(
    wanted: Sequence[Instance], found: Sequence[Instance], labels: Sequence[str], pictures: int, kind: Kind
) -> tuple[float, dict[str, float]]:
    """COCO's average precision at an IoU of 0.5, 100 detections a picture at most.

    Args:
        labels: names of the classes.
        pictures: how many there are, also those without an object.

    Returns:
        The mean over the classes that are wanted anywhere (0 where none is), and each of theirs.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not wanted:
        return 0.0, {}
    height, width = wanted[0].mask.size if wanted[0].mask is not None else (1, 1)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            # COCOeval takes id 0 for "not matched": all ids start at 1.
            "images": [{"id": index + 1, "height": height, "width": width} for index in range(pictures)],
            "categories": [{"id": index + 1, "name": name} for index, name in enumerate(labels)],
            "annotations": [
                _annotation(item, kind) | {"id": index + 1, "iscrowd": 0} for index, item in enumerate(wanted)
            ],
        }
        truth.createIndex()
        guesses = COCO()
        guesses.dataset = truth.dataset | {
            "annotations": [
                _annotation(item, kind) | {"id": index + 1, "iscrowd": 0, "score": item.score}
                for index, item in enumerate(found)
            ],
        }
        guesses.createIndex()
        judged = COCOeval(truth, guesses, kind)
        judged.params.iouThrs = np.array([IOU])
        judged.evaluate()
        judged.accumulate()
    # [thresholds, recalls, classes, areas, most detections]; -1 where a class is not wanted.
    precision = judged.eval["precision"][0, :, :, 0, -1]
    by_class = {
        name: float(precision[:, index].mean()) for index, name in enumerate(labels) if precision[0, index] >= 0
    }
    return float(np.mean(list(by_class.values()))), by_class


def _annotation(item: Instance, kind: Kind) -> dict[str, Any]:
    x0, y0, x1, y1 = item.box
    found: dict[str, Any] = {
        "image_id": item.picture + 1,
        "category_id": item.label + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
    }
    if kind == "segm":
        assert item.mask is not None
        found["segmentation"] = {"size": list(item.mask.size), "counts": item.mask.counts}
    return found
