"""An index's vectors and metadata on disk: appended in batches, safe against being killed, read without loading all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.retrieval.entries import Entry
from services.retrieval.errors import RetrievalError

VECTORS_FILE = "vectors.f16"
METADATA_FILE = "metadata.sqlite"
_BUSY_S = 10.0
_ANEW = "Build the index again in an empty folder."
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY,
    caption TEXT NOT NULL,
    source TEXT,
    url TEXT,
    key BLOB NOT NULL UNIQUE
)
"""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an entry's id stands for."""

    caption: str
    source: str | None
    url: str | None


class Storage:
    """Vectors and metadata of one index folder.

    The number of rows in the metadata is the number of entries: vectors are written first, so that whatever a killed
    build left behind them is not counted and is overwritten.

    Args:
        folder: the index.
        dim: length of a vector.
        writable: create what is missing and allow `append`; without it both files must be there.
        least: entries that were counted before, so that both files must be there and hold at least as many.

    Raises:
        RetrievalError: a file is missing, damaged or cut off. Nothing is written then.
    """

    def __init__(self, folder: Path, dim: int, *, writable: bool = False, least: int = 0) -> None:
        self._vectors_path = folder / VECTORS_FILE
        self._dim = dim
        self._path = path = folder / METADATA_FILE
        if (least or not writable) and not (path.is_file() and self._vectors_path.is_file()):
            raise RetrievalError(f"{folder} is not complete: {METADATA_FILE} or {VECTORS_FILE} is missing. {_ANEW}")
        mode = "rwc" if writable else "ro"
        # Skills are set up in one thread and asked in another, never at the same time.
        self._database = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_S, check_same_thread=False
        )
        try:
            if writable:
                with self._readable():
                    self._database.execute(_SCHEMA)
                    self._database.commit()
            if (count := len(self)) < least:
                raise RetrievalError(f"{path} holds {count} entries of {least}. {_ANEW}")
            self._check_vectors(count)
        except RetrievalError:
            self.close()
            raise

    def __len__(self) -> int:
        with self._readable():
            (last,) = self._database.execute("SELECT MAX(id) FROM entries").fetchone()
        return 0 if last is None else int(last) + 1

    def close(self) -> None:
        self._database.close()

    def new(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are not stored yet, each once."""
        marks = ",".join("?" * len(entries))
        keys = [entry.key for entry in entries]
        with self._readable():
            known = {key for (key,) in self._database.execute(f"SELECT key FROM entries WHERE key IN ({marks})", keys)}
        fresh = {key: entry for key, entry in zip(keys, entries, strict=True) if key not in known}
        return list(fresh.values())

    def append(self, entries: Sequence[Entry], vectors: NDArray[np.float32]) -> None:
        """Store entries that `new` gave with their unit vectors [n, dim]; on disk when this returns."""
        first = len(self)
        with self._vectors_path.open("r+b" if self._vectors_path.exists() else "w+b") as stream:
            stream.truncate(first * self._dim * 2)
            stream.seek(0, os.SEEK_END)
            stream.write(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        rows = [
            (first + offset, entry.caption, entry.source, entry.url, entry.key) for offset, entry in enumerate(entries)
        ]
        with self._readable(), self._database:
            self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", rows)

    def vectors(self) -> NDArray[np.float16]:
        """All vectors [n, dim], memory-mapped and read-only."""
        count = len(self)
        if count == 0:
            return np.empty((0, self._dim), dtype=np.float16)
        self._check_vectors(count)
        return np.memmap(self._vectors_path, dtype=np.float16, mode="r", shape=(count, self._dim))

    def metadata(self, ids: Sequence[int]) -> list[Metadata]:
        """What the ids stand for, in their order.

        Raises:
            KeyError: an id that is not stored.
            RetrievalError: the file is damaged.
        """
        marks = ",".join("?" * len(ids))
        wanted = f"SELECT id, caption, source, url FROM entries WHERE id IN ({marks})"
        with self._readable():
            rows = self._database.execute(wanted, list(ids)).fetchall()
        found = {number: Metadata(caption, source, url) for number, caption, source, url in rows}
        return [found[number] for number in ids]

    def _check_vectors(self, count: int) -> None:
        """Raises RetrievalError where counted vectors are not in the file: `append` would put zeros there."""
        stored = self._vectors_path.stat().st_size if self._vectors_path.is_file() else 0
        if stored < count * self._dim * 2:
            raise RetrievalError(f"{self._vectors_path} is cut off. {_ANEW}")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What SQLite says about the file, as a RetrievalError."""
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, full, read-only
            raise RetrievalError(f"{self._path} cannot be used: {error}.") from None
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise RetrievalError(f"{self._path} is damaged ({error}). {_ANEW}") from None
