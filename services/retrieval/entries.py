"""What goes into an index: captions, with or without pictures, read from files that people have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.retrieval.errors import RetrievalError

CAPTIONS_FILE = "captions.jsonl"
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be found.

    Attributes:
        caption: what a search gives back.
        picture: the file whose vector stands for the entry; without one the text's does.
        name: the picture's path as its source names it; the file's own name when absent.
        match: the text whose vector stands for an entry without picture, where that is not its caption: a long fact
            is found better by the few words that it is about.
        source: where it comes from, for people.
        url: its web address.
    """

    caption: str
    picture: Path | None = None
    match: str | None = None
    source: str | None = None
    url: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        return self.match or self.caption

    @property
    def key(self) -> bytes:
        """The same for the same entry: what is in an index already is not added again.

        Of a picture its path in its source and its size in bytes count: two folders may hold a `1.jpg` each, and an
        index may be added to from a copy of its source.
        """
        parts: list[Any] = [self.caption, None, self.match, self.source, self.url]
        if self.picture is not None:
            parts[1] = [self.name or self.picture.name, _bytes_in(self.picture)]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


class Entries:
    """The entries of one path; can be gone through again.

    Args:
        path: a `.jsonl` file with `{"caption", "image", "match", "source", "url"}` a line (all but the caption may be
            left out, pictures are relative to the file); a `.txt` file with a caption a line; or a folder with such a
            `captions.jsonl`, or with a `.txt` of the same name beside each picture.

    Raises:
        RetrievalError: the path is none of these.
    """

    def __init__(self, path: Path) -> None:
        inside = path / CAPTIONS_FILE
        self.path = inside if path.is_dir() and inside.is_file() else path
        if self.path.is_dir():
            self._read = self._from_folder
        elif not self.path.is_file():
            raise RetrievalError(f"{path} is not there: name a .jsonl or .txt file, or a folder of pictures.")
        elif self.path.suffix == ".jsonl":
            self._read = self._from_json_lines
        elif self.path.suffix == ".txt":
            self._read = self._from_lines
        else:
            raise RetrievalError(
                f"{path} is no .jsonl or .txt file and no folder: see `llava-plus index build --help`."
            )

    def __iter__(self) -> Iterator[Entry]:
        return self._read()

    def __len__(self) -> int:
        """How many there are at most; cheap beside embedding them."""
        if self.path.is_dir():
            return sum(1 for _ in pictures_in(self.path))
        with self.path.open("rb") as stream:
            return sum(1 for line in stream if line.strip())

    def _from_lines(self) -> Iterator[Entry]:
        for _, line in numbered_lines(self.path):
            yield Entry(line, source=self.path.name)

    def _from_json_lines(self) -> Iterator[Entry]:
        for number, line in numbered_lines(self.path):
            try:
                yield _parsed(json.loads(line), self.path.parent)
            except ValueError as error:
                raise RetrievalError(f"{self.path.name}, line {number}: {error}") from None

    def _from_folder(self) -> Iterator[Entry]:
        for picture in pictures_in(self.path):
            beside = picture.with_suffix(".txt")
            if not beside.is_file():
                raise RetrievalError(
                    f"{picture.name} has no caption: put it in {beside.name}, or all captions in {CAPTIONS_FILE}."
                )
            caption = " ".join(beside.read_text(encoding="utf-8").split())
            within = picture.relative_to(self.path).as_posix()
            yield Entry(caption or picture.stem, picture=picture, source=within, name=within)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if stripped := line.strip():
                    yield number, stripped
    except UnicodeDecodeError:
        raise RetrievalError(f"{path.name} is not UTF-8 text: convert it first.") from None


def pictures_in(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)


def _bytes_in(path: Path) -> int | None:
    """None where the file cannot be looked at; it is reported when it is opened."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _parsed(data: Any, folder: Path) -> Entry:
    """Raises ValueError, with what is wrong."""
    if not isinstance(data, dict):
        raise ValueError('a line is an object such as {"image": "1.jpg", "caption": "a boat"}')
    known = {"caption", "image", "match", "source", "url"}
    if unknown := sorted(set(data) - known):
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
    for name, value in data.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} must be text")
    if not (caption := " ".join((data.get("caption") or "").split())):
        raise ValueError("the caption is missing or empty")
    image = data.get("image")
    return Entry(
        caption=caption,
        picture=folder / image if image else None,
        match=data.get("match") or None,
        source=data.get("source") or (Path(image).name if image else None),
        url=data.get("url") or None,
        name=image or None,
    )
