"""What readers of published data sets share."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from planner.data.labels import LabelledPicture, Vocabulary
from planner.data.recipe import DataError


@dataclass(frozen=True)
class Reader:
    """The pictures of a data set; implements `LabelledPictures`.

    Attributes:
        make: the picture `index` with its labels.
        vocabulary: what the pictures show.
    """

    count: int
    make: Callable[[int], LabelledPicture]
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> LabelledPicture:
        return self.make(index)


def read_json(path: Path) -> Any:
    """A JSON file, packed with gzip or not.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with _opened(path) as lines:
            return json.load(lines)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file, packed with gzip or not. Raises as `read_json`."""
    try:
        with _opened(path) as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON lines: {error}.") from None


def picture_file(folder: Path | None, name: str) -> Callable[[], Image.Image] | None:
    """Loads a picture of a data set, where its folder is known."""
    return partial(_loaded, folder / name) if folder else None


def picture_size(folder: Path | None, name: str) -> tuple[int, int]:
    """Width and height, read from the file's header; 512 each where there is no file to look at."""
    if folder is None or not (folder / name).is_file():
        return (512, 512)
    with Image.open(folder / name) as picture:
        return picture.size


def everyday() -> Vocabulary:
    """The vocabulary of a data set without categories of its own."""
    from planner.data.phrasebook import general_nouns

    return Vocabulary(tuple(general_nouns()))


def _opened(path: Path) -> Any:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _loaded(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise DataError(f"The picture {path} cannot be read: {error}.") from None
