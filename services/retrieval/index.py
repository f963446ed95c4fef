"""An index that is ready, open for search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.retrieval import structure
from services.retrieval.errors import RetrievalError
from services.retrieval.manifest import Manifest
from services.retrieval.storage import Storage


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry that was found; `similarity` is the cosine of its vector and the query's."""

    id: int
    caption: str
    similarity: float
    source: str | None = None
    url: str | None = None


class RetrievalIndex:
    """Search in an index folder. Nothing is loaded whole: vectors, codes and captions are read where they lie.

    Args:
        folder: what `llava-plus index build` made.
        fingerprint: of the CLIP that will make the queries.

    Raises:
        RetrievalError: the folder is no finished index, or another CLIP's.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        manifest = Manifest.read(folder)
        if manifest is None:
            raise RetrievalError(f"{folder} is no retrieval index: make one with `llava-plus index build`.")
        check_fingerprint(manifest, fingerprint, folder)
        if not (folder / structure.INDEX_FILE).is_file():
            raise RetrievalError(
                f"The build of {folder} did not finish: run the same `llava-plus index` command again."
            )
        self.manifest = manifest
        self._index = structure.read(folder, memory_mapped=True)
        self._storage = Storage(folder, manifest.dim)
        self._vectors = self._storage.vectors()
        if self._index.d != manifest.dim or self._index.ntotal > len(self._vectors):
            raise RetrievalError(f"The files of {folder} do not belong together: build it again in an empty folder.")

    def __len__(self) -> int:
        """Entries that can be found."""
        return int(self._index.ntotal)

    def close(self) -> None:
        self._storage.close()

    def search(self, queries: NDArray[np.float32], top_k: Sequence[int]) -> list[list[Hit]]:
        """The nearest entries of each query, best first.

        Args:
            queries: unit vectors [b, dim].
            top_k: how many for each; fewer come back where the index holds fewer.
        """
        found = structure.search(self._index, self._vectors, queries, max(top_k))
        return [
            self._hits(ids[:wanted], similarities[:wanted])
            for (ids, similarities), wanted in zip(found, top_k, strict=True)
        ]

    def _hits(self, ids: NDArray[np.int64], similarities: NDArray[np.float32]) -> list[Hit]:
        numbers = [int(number) for number in ids]
        return [
            Hit(number, facts.caption, float(similarity), facts.source, facts.url)
            for number, similarity, facts in zip(numbers, similarities, self._storage.metadata(numbers), strict=True)
        ]


def check_fingerprint(manifest: Manifest, fingerprint: str, folder: Path) -> None:
    """Raises RetrievalError when the index was made by another CLIP."""
    if manifest.fingerprint != fingerprint:
        raise RetrievalError(
            f"{folder} was made with other CLIP weights ({manifest.checkpoint}): use those, or build your own index."
        )
