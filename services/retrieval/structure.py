"""The FAISS structure over an index's vectors: which, trained how, searched how.

Measured choice (docs/retrieval.md): up to `FLAT_MAX` vectors all are compared. Beyond, an inverted file with product
quantisation finds candidates and their exact similarities are taken from the memory-mapped vectors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.retrieval.errors import RetrievalError

INDEX_FILE = "index.faiss"
Kind = Literal["flat", "ivfpq"]

FLAT_MAX = 10_000
POINTS_PER_LIST = 64
DIMENSIONS_PER_CODE = 8  # 96 bytes for a vector of 768
CODE_POINTS = 16_384
PROBES = 32
CANDIDATES_PER_RESULT = 20
CANDIDATES_MIN = 200
ADD_BLOCK = 20_000
GROWTH_BEFORE_TRAINING_AGAIN = 4

Vectors = NDArray[np.float16]
Progress = Callable[[int, int], None]


def kind_for(count: int) -> Kind:
    return "flat" if count <= FLAT_MAX else "ivfpq"


def needs_training(kind: Kind | None, trained_on: int, count: int) -> bool:
    """Whether the structure must be made anew to hold `count` vectors."""
    return kind != kind_for(count) or (kind == "ivfpq" and count > GROWTH_BEFORE_TRAINING_AGAIN * trained_on)


def trained(vectors: Vectors, seed: int = 0) -> Any:
    """An empty structure fit for these vectors."""
    import faiss

    count, dim = vectors.shape
    if kind_for(count) == "flat":
        return faiss.IndexFlatIP(dim)
    lists = 2 ** round(math.log2(math.sqrt(count)))
    # "np": without polysemous training, which only Hamming search needs and which takes longest of all.
    index: Any = faiss.index_factory(dim, f"IVF{lists},PQ{codes_for(dim)}np", faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical = True
    index.cp.seed = index.pq.cp.seed = seed
    index.pq.cp.max_points_per_centroid = CODE_POINTS // 256
    index.pq.cp.min_points_per_centroid = 1  # fewer than FAISS likes still make good codes: no warning
    sample = np.random.default_rng(seed).choice(count, min(count, lists * POINTS_PER_LIST), replace=False)
    with _threads(1):
        index.train(np.asarray(vectors[np.sort(sample)], dtype=np.float32))
    return index


def codes_for(dim: int) -> int:
    """Bytes of a vector's code: the divisor of `dim` nearest to one byte for 8 dimensions."""
    wanted = dim / DIMENSIONS_PER_CODE
    return min((m for m in range(1, dim + 1) if dim % m == 0), key=lambda m: abs(m - wanted))


def add_missing(index: Any, vectors: Vectors, progress: Progress) -> None:
    """Add the vectors from the structure's own count on."""
    while index.ntotal < len(vectors):
        block = vectors[index.ntotal : index.ntotal + ADD_BLOCK]
        index.add(np.asarray(block, dtype=np.float32))
        progress(index.ntotal, len(vectors))


def write(index: Any, folder: Path) -> None:
    """Replace `index.faiss` in one step."""
    import faiss

    path = folder / INDEX_FILE
    beside = folder / f"{INDEX_FILE}.new"
    faiss.write_index(index, str(beside))
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(path)


def read(folder: Path, *, memory_mapped: bool) -> Any:
    """`index.faiss`; memory-mapped ones can only be searched.

    Raises:
        RetrievalError: FAISS cannot read it.
    """
    import faiss

    path = folder / INDEX_FILE
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP if memory_mapped else 0)
    except RuntimeError:
        raise damaged(folder) from None


def damaged(folder: Path) -> RetrievalError:
    """What to do about an `index.faiss` that does not belong to the vectors beside it."""
    path = folder / INDEX_FILE
    return RetrievalError(f"{path} is missing or damaged: remove it and run `llava-plus index add` or `build` again.")


def search(
    index: Any, vectors: Vectors, queries: NDArray[np.float32], top_k: int
) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each query its nearest entries: ids and exact cosine similarities, best first.

    Args:
        index: from `read`.
        vectors: all unit vectors [n, dim].
        queries: unit vectors [b, dim].
        top_k: how many; fewer come back where the index holds fewer.
    """
    import faiss

    wanted = top_k
    if hasattr(index, "nprobe"):
        index.nprobe = min(PROBES, index.nlist)
        wanted = max(CANDIDATES_MIN, CANDIDATES_PER_RESULT * top_k)
    with _threads(1 if len(queries) == 1 else faiss.omp_get_max_threads()):
        _, candidates = index.search(queries, min(wanted, index.ntotal))
    return [_nearest(vectors, query, ids[ids >= 0], top_k) for query, ids in zip(queries, candidates, strict=True)]


def _nearest(
    vectors: Vectors, query: NDArray[np.float32], ids: NDArray[np.int64], top_k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids = np.sort(ids)  # the order on disk
    similarities = vectors[ids].astype(np.float32) @ query
    best = np.argsort(-similarities, kind="stable")[:top_k]
    return ids[best], similarities[best]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """FAISS' thread count inside a `with`: in its small loops threads wait for each other longer than they work."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
