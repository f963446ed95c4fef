"""Builds indexes and adds to them. A build that was cut, even by kill -9, goes on where it was when run again."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.images import decode
from services.retrieval import structure
from services.retrieval.encoder import Encoder
from services.retrieval.entries import Entry
from services.retrieval.errors import RetrievalError
from services.retrieval.index import check_fingerprint
from services.retrieval.manifest import Manifest, Modality
from services.retrieval.storage import Storage

DECODERS = 4
Stage = Literal["embedding", "training", "indexing"]
Watcher = Callable[[Stage, int, int], None]
"""Told how far a build is: stage, done, total."""


@dataclass(slots=True)
class Report:
    """What a build did."""

    added: int = 0
    known: int = 0
    total: int = 0
    unreadable: list[str] = field(default_factory=list)


class IndexBuilder:
    """Puts entries into an index folder.

    Args:
        folder: the index; made when it is not there.
        encoder: the CLIP.
        checkpoint: the CLIP's name, for the manifest.
        batch_size: entries that are embedded, and committed, at once.
        watcher: told of progress after each batch.
    """

    def __init__(
        self, folder: Path, encoder: Encoder, checkpoint: str, batch_size: int = 64, watcher: Watcher | None = None
    ) -> None:
        self._folder = folder
        self._encoder = encoder
        self._checkpoint = checkpoint
        self._batch_size = batch_size
        self._tell = watcher or _tell_nobody

    def run(self, entries: Iterable[Entry], total: int) -> Report:
        """Embed the entries that the index does not hold yet, and make all of it searchable.

        Args:
            entries: in any order; those stored by an earlier run are recognised and passed over.
            total: how many there are, for the progress.

        Raises:
            RetrievalError: nothing to put in, entries of the wrong kind, another CLIP's index, a damaged one, or a
                second build of the same folder at the same time.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder):
            remaining = iter(entries)
            storage, manifest = self._opened()
            try:
                if manifest is None:
                    first = next(remaining, None)
                    if first is None:
                        raise RetrievalError("There are no entries to build an index from.")
                    remaining = itertools.chain([first], remaining)
                    manifest = self._first_manifest("image" if first.picture else "text")
                return self._fill(storage, manifest, remaining, total)
            finally:
                storage.close()

    def _opened(self) -> tuple[Storage, Manifest | None]:
        """What is stored, and its manifest: None where nothing is, so that any CLIP and either kind will do."""
        manifest = Manifest.read(self._folder)
        dim, counted = (self._encoder.dim, 0) if manifest is None else (manifest.dim, manifest.entries)
        storage = Storage(self._folder, dim, writable=True, least=counted)
        if not len(storage):
            storage.close()
            return Storage(self._folder, self._encoder.dim, writable=True), None
        try:
            if manifest is None:
                raise RetrievalError(
                    f"{self._folder} has entries, but its manifest is missing: build in an empty folder."
                )
            check_fingerprint(manifest, self._encoder.fingerprint, self._folder)
        except RetrievalError:
            storage.close()
            raise
        return storage, manifest

    def _fill(self, storage: Storage, manifest: Manifest, entries: Iterator[Entry], total: int) -> Report:
        manifest.model_copy(update={"state": "embedding"}).write(self._folder)
        report = Report()
        done = 0
        self._tell("embedding", 0, total)
        while batch := list(itertools.islice(entries, self._batch_size)):
            self._embed(storage, manifest.modality, batch, report)
            done += len(batch)
            self._tell("embedding", done, total)
        report.total = len(storage)
        if report.total == 0:
            raise RetrievalError(f"None of the {done} entries could be read: {report.unreadable[0]}")
        self._index(storage, manifest)
        return report

    def _embed(self, storage: Storage, modality: Modality, batch: Sequence[Entry], report: Report) -> None:
        check_modality(modality, batch)
        fresh = storage.new(batch)
        report.known += len(batch) - len(fresh)
        if not fresh:
            return
        if modality == "text":
            vectors = self._encoder.encode_texts([entry.text for entry in fresh])
        else:
            fresh, vectors = self._pictures(fresh, report)
        if fresh:
            storage.append(fresh, vectors)
            report.added += len(fresh)

    def _pictures(self, entries: Sequence[Entry], report: Report) -> tuple[list[Entry], NDArray[np.float32]]:
        with ThreadPoolExecutor(DECODERS) as pool:
            opened = list(pool.map(_open, entries))
        for picture in opened:
            if isinstance(picture, str):
                report.unreadable.append(picture)
        pairs = [(e, picture) for e, picture in zip(entries, opened, strict=True) if not isinstance(picture, str)]
        if not pairs:
            return [], np.empty((0, self._encoder.dim), dtype=np.float32)
        return [entry for entry, _ in pairs], self._encoder.encode_pictures([picture for _, picture in pairs])

    def _index(self, storage: Storage, manifest: Manifest) -> None:
        """Bring `index.faiss` up to the stored vectors, and say so in the manifest."""
        count = len(storage)
        vectors = storage.vectors()
        manifest.model_copy(update={"state": "indexing", "entries": count}).write(self._folder)
        kind, trained_on = manifest.kind, manifest.trained_on
        exists = (self._folder / structure.INDEX_FILE).is_file()
        if not exists or structure.needs_training(kind, trained_on, count):
            self._tell("training", 0, 1)
            index = structure.trained(vectors)
            self._tell("training", 1, 1)
            kind, trained_on = structure.kind_for(count), count
        else:
            index = structure.read(self._folder, memory_mapped=False)
            if index.d != manifest.dim or index.ntotal > count:
                raise structure.damaged(self._folder)
        structure.add_missing(index, vectors, lambda done, total: self._tell("indexing", done, total))
        structure.write(index, self._folder)
        facts = {"state": "ready", "entries": count, "kind": kind, "trained_on": trained_on}
        manifest.model_copy(update=facts).write(self._folder)

    def _first_manifest(self, modality: Modality) -> Manifest:
        return Manifest(
            checkpoint=self._checkpoint,
            fingerprint=self._encoder.fingerprint,
            modality=modality,
            dim=self._encoder.dim,
            state="embedding",
        )


def check_modality(modality: Modality, entries: Sequence[Entry]) -> None:
    """Raises RetrievalError for an entry that would be compared across kinds: texts lie far from all pictures."""
    for entry in entries:
        if (entry.picture is None) == (modality == "image"):
            here, there = ("pictures", "no picture") if modality == "image" else ("texts", "a picture")
            raise RetrievalError(
                f"This index holds vectors of {here}, but the entry {entry.caption[:60]!r} has {there}: "
                "put the two kinds into indexes of their own."
            )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second build out. The lock ends with the process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetrievalError(f"Another build of {folder} is running: wait for it.") from None
        yield
    finally:
        os.close(handle)


def _open(entry: Entry) -> Image.Image | str:
    """The entry's picture, or why it cannot be read."""
    assert entry.picture is not None
    try:
        return decode(entry.picture.read_bytes())
    except FileNotFoundError:
        return f"{entry.picture} is not there"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{entry.picture} cannot be read as a picture ({error})"


def _tell_nobody(stage: Stage, done: int, total: int) -> None:
    del stage, done, total
