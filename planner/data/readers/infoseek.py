"""InfoSeek (arXiv 2302.11713): questions that need outside knowledge, and the entities that they are about.

`infoseek_*.jsonl` has `data_id`, `image_id`, `question` and `answer`; `infoseek_*_withkb.jsonl` beside it names the
entity (`entity_id`, `entity_text`) of each `data_id`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner.data.labels import LabelledPicture
from planner.data.readers.base import Reader, everyday, picture_file, picture_size, read_lines

_SUFFIXES = (".jpg", ".JPEG", ".jpeg", ".png")


def read(annotations: Path, images: Path | None) -> Reader:
    """One picture a question; `extra` has `question`, `answer` and `entity`. Raises as `read_lines`."""
    rows = [row for row in read_lines(annotations) if row.get("answer")]
    stem, _, ending = annotations.name.partition(".")
    beside = annotations.with_name(f"{stem}_withkb.{ending}")
    entities = {row["data_id"]: str(row["entity_text"]) for row in read_lines(beside)} if beside.is_file() else {}

    def make(index: int) -> LabelledPicture:
        row = rows[index]
        name = _file(images, str(row["image_id"]))
        answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        extra: dict[str, Any] = {"question": str(row["question"]), "answer": str(answers[0])}
        if row["data_id"] in entities:
            extra["entity"] = entities[row["data_id"]]
        return LabelledPicture(
            name=name, size=picture_size(images, name), pixels=picture_file(images, name), extra=extra
        )

    return Reader(len(rows), make, everyday())


def _file(images: Path | None, image_id: str) -> str:
    names = [image_id + suffix for suffix in _SUFFIXES]
    return next((name for name in names if images and (images / name).is_file()), names[0])
