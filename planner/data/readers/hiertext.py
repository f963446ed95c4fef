"""HierText (arXiv 2203.15143): `train.jsonl` is one JSON document of paragraphs, lines and words with polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.data.labels import Box, LabelledPicture
from planner.data.readers.base import Reader, everyday, picture_file, read_json


def read(annotations: Path, images: Path | None) -> Reader:
    """The pictures with a legible line. Raises as `read_json`."""
    known = [item for item in read_json(annotations)["annotations"] if _legible(item)]

    def make(index: int) -> LabelledPicture:
        item = known[index]
        name = f"{item['image_id']}.jpg"
        size = (int(item["image_width"]), int(item["image_height"]))
        lines = tuple((str(line["text"]), _box(line["vertices"], size)) for line in _legible(item))
        return LabelledPicture(name=name, size=size, lines=lines, pixels=picture_file(images, name))

    return Reader(len(known), make, everyday())


def _legible(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        line
        for paragraph in item["paragraphs"]
        for line in paragraph["lines"]
        if line.get("legible", True) and str(line.get("text", "")).strip()
    ]


def _box(vertices: list[list[float]], size: tuple[int, int]) -> Box:
    xs = [min(max(x / size[0], 0.0), 1.0) for x, _ in vertices]
    ys = [min(max(y / size[1], 0.0), 1.0) for _, y in vertices]
    return (min(xs), min(ys), max(xs), max(ys))
