"""COCO (arXiv 1405.0312): `instances_*.json` with boxes and masks, `captions_*.json` with five captions a picture."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from planner.data.labels import Box, LabelledObject, LabelledPicture, Mask, Vocabulary, noun
from planner.data.readers.base import Reader, picture_file, read_json


def read(annotations: Path, captions: Path | None, images: Path | None) -> Reader:
    """The pictures that have annotations; crowds (`iscrowd`) are left out.

    Raises:
        DataError: a file cannot be read.
    """
    instances = read_json(annotations)
    categories = {item["id"]: item for item in instances["categories"]}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in instances["annotations"]:
        if not item.get("iscrowd") and item["bbox"][2] > 0 and item["bbox"][3] > 0:
            objects[item["image_id"]].append(item)
    said: dict[int, list[str]] = defaultdict(list)
    for item in read_json(captions)["annotations"] if captions else ():
        said[item["image_id"]].append(" ".join(str(item["caption"]).split()))
    known = [item for item in instances["images"] if item["id"] in objects or item["id"] in said]

    def make(index: int) -> LabelledPicture:
        item = known[index]
        size = (int(item["width"]), int(item["height"]))
        return LabelledPicture(
            name=item["file_name"],
            size=size,
            objects=tuple(_object(one, categories[one["category_id"]], size) for one in objects[item["id"]]),
            captions=tuple(said[item["id"]]),
            pixels=picture_file(images, item["file_name"]),
        )

    return Reader(len(known), make, Vocabulary(tuple(noun(item["name"]) for item in categories.values())))


def _object(item: dict[str, Any], category: dict[str, Any], size: tuple[int, int]) -> LabelledObject:
    width, height = size
    left, top, across, down = (float(side) for side in item["bbox"])
    box: Box = (
        max(left / width, 0.0),
        max(top / height, 0.0),
        min((left + across) / width, 1.0),
        min((top + down) / height, 1.0),
    )
    return LabelledObject(
        noun=noun(category["name"]),
        box=box,
        area=min(float(item.get("area", across * down)) / (width * height), 1.0),
        category=category.get("supercategory"),
        mask=partial(_polygons, item["segmentation"], size) if isinstance(item.get("segmentation"), list) else None,
    )


def _polygons(polygons: list[list[float]], size: tuple[int, int]) -> Mask:
    drawn = Image.new("1", size)
    for polygon in polygons:
        if len(polygon) >= 6:
            ImageDraw.Draw(drawn).polygon(polygon, fill=1)
    mask: Mask = np.asarray(drawn, dtype=bool)
    return mask
