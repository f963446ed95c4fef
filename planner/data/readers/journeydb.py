"""JourneyDB (arXiv 2307.00716): prompts of generated pictures, from `train_anno_realease_repath.jsonl` as published."""

from __future__ import annotations

import re
from pathlib import Path

from planner.data.labels import LabelledPicture
from planner.data.readers.base import Reader, everyday, picture_file, picture_size, read_lines

PROMPT_CHARS_MAX = 300
_OPTIONS = re.compile(r"\s--?\w+(\s+[\w:.]+)?|https?://\S+|<[^>]*>")


def read(annotations: Path, images: Path | None) -> Reader:
    """Pictures whose prompt is not too long; `extra["scene"]` is the prompt without the painter's options."""
    rows = []
    for row in read_lines(annotations):
        prompt = " ".join(_OPTIONS.sub(" ", f" {row.get('prompt', '')}").split()).strip(" ,")
        if prompt and len(prompt) <= PROMPT_CHARS_MAX:
            rows.append((str(row["img_path"]).removeprefix("./"), prompt, _caption(row)))

    def make(index: int) -> LabelledPicture:
        name, prompt, caption = rows[index]
        return LabelledPicture(
            name=name,
            size=picture_size(images, name),
            captions=(caption,) if caption else (),
            pixels=picture_file(images, name),
            extra={"scene": prompt},
        )

    return Reader(len(rows), make, everyday())


def _caption(row: dict[str, object]) -> str:
    task = row.get("Task2")
    return " ".join(str(task.get("Caption", "")).split()) if isinstance(task, dict) else ""
