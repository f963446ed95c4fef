"""Recall and time of a retrieval index of a million vectors, built and opened as `llava-plus index` does it.

`python -m benchmarks.retrieval` prints a table and writes benchmarks/results/retrieval.json.

The vectors are made to be like CLIP's, which are far from uniform: they share a large common part (all lie in one
cone), lie in clusters of very different sizes, and vary in few directions much and in the others little. Queries are
new vectors of the same kind; "across kinds" adds a common offset and noise, as texts have that search among pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.running import RESULTS
from services.retrieval import structure

TOP_K = 10
BLOCK = 50_000
DIRECTIONS = 96
SPREAD = 0.7
NOISE = 0.2
OFFSET, OFFSET_NOISE = 0.8, 0.5
TARGET_RECALL = 0.95
TARGET_MS = 10.0

Rows = NDArray[np.float32]


@dataclass
class Row:
    """What was measured with one kind of queries.

    `cpu_ms` is the mean processor time of a query, which other processes on the machine lengthen little.
    """

    queries: str
    recall_at_10: float
    cpu_ms: float
    median_ms: float
    p95_ms: float


class ClipLike:
    """Draws unit vectors [n, dim] as the module describes them."""

    def __init__(self, dim: int, clusters: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._dim = dim
        variances = np.arange(1, DIRECTIONS + 1, dtype=np.float32) ** -0.4
        self._basis = np.linalg.qr(self._normal(dim, DIRECTIONS))[0].T * variances[:, None]
        self._centres = self._normal(clusters, DIRECTIONS)
        sizes = self._rng.zipf(1.3, clusters).clip(max=200).astype(float)
        self._shares = sizes / sizes.sum()
        self._common = self._direction()
        self._offset = self._direction()

    def draw(self, count: int) -> Rows:
        clusters = self._rng.choice(len(self._centres), count, p=self._shares)
        inner = self._centres[clusters] + SPREAD * self._normal(count, DIRECTIONS)
        rows = inner @ self._basis
        rows /= np.sqrt((rows**2).sum(1).mean())
        return _unit(rows + self._common + NOISE * self._noise(count))

    def across(self, rows: Rows) -> Rows:
        return _unit(rows + OFFSET * self._offset + OFFSET_NOISE * self._noise(len(rows)))

    def _direction(self) -> Rows:
        vector = self._normal(1, self._dim)
        return vector / np.linalg.norm(vector)

    def _noise(self, count: int) -> Rows:
        return self._normal(count, self._dim) / np.sqrt(np.float32(self._dim))

    def _normal(self, rows: int, columns: int) -> Rows:
        return self._rng.standard_normal((rows, columns), dtype=np.float32)


def _unit(rows: Rows) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def stored(path: Path, source: ClipLike, count: int, dim: int) -> structure.Vectors:
    """A memory-mapped file of vectors in half precision, as `vectors.f16` is."""
    written = np.memmap(path, dtype=np.float16, mode="w+", shape=(count, dim))
    for start in range(0, count, BLOCK):
        written[start : start + BLOCK] = source.draw(min(BLOCK, count - start))
    written.flush()
    return np.memmap(path, dtype=np.float16, mode="r", shape=(count, dim))


def nearest(vectors: structure.Vectors, queries: Rows) -> NDArray[np.int64]:
    """The true nearest ids [queries, TOP_K], by comparing all."""
    best = np.full((len(queries), TOP_K), -np.inf, np.float32)
    ids = np.zeros((len(queries), TOP_K), np.int64)
    for start in range(0, len(vectors), BLOCK):
        likeness = queries @ vectors[start : start + BLOCK].astype(np.float32).T
        found = np.argpartition(-likeness, TOP_K, axis=1)[:, :TOP_K]
        pool = np.concatenate([best, np.take_along_axis(likeness, found, 1)], axis=1)
        pool_ids = np.concatenate([ids, found + start], axis=1)
        order = np.argsort(-pool, axis=1)[:, :TOP_K]
        best, ids = np.take_along_axis(pool, order, 1), np.take_along_axis(pool_ids, order, 1)
    return ids


def measure(folder: Path, vectors: structure.Vectors, kinds: dict[str, Rows]) -> Iterator[Row]:
    index = structure.read(folder, memory_mapped=True)
    truths = np.split(nearest(vectors, np.concatenate(list(kinds.values()))), len(kinds))
    for (name, queries), truth in zip(kinds.items(), truths, strict=True):
        times, hits = [], 0
        processor = time.process_time()
        for query, wanted in zip(queries, truth, strict=True):
            started = time.perf_counter()
            ((ids, _),) = structure.search(index, vectors, query[None], TOP_K)
            times.append((time.perf_counter() - started) * 1e3)
            hits += len(set(ids.tolist()) & set(wanted.tolist()))
        cpu_ms = (time.process_time() - processor) * 1e3 / len(queries)
        p95 = statistics.quantiles(times, n=20)[18]
        recall = hits / (TOP_K * len(queries))
        yield Row(name, round(recall, 4), round(cpu_ms, 2), round(statistics.median(times), 2), round(p95, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and time of a retrieval index.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--clusters", type=int, default=3000)
    parser.add_argument("--folder", type=Path, default=None, help="Where the files go; a temporary folder when absent.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        source = ClipLike(arguments.dim, arguments.clusters, seed=0)
        vectors = stored(folder / "vectors.f16", source, arguments.count, arguments.dim)
        started = time.perf_counter()
        index = structure.trained(vectors)
        trained_s = time.perf_counter() - started
        started = time.perf_counter()
        structure.add_missing(index, vectors, lambda done, total: None)
        added_s = time.perf_counter() - started
        structure.write(index, folder)
        del index
        queries = source.draw(arguments.queries)
        kinds = {"same kind": queries, "across kinds": source.across(queries)}
        rows = list(measure(folder, vectors, kinds))
        facts = {
            "vectors": arguments.count,
            "dim": arguments.dim,
            "kind": structure.kind_for(arguments.count),
            "train_s": round(trained_s, 1),
            "add_s": round(added_s, 1),
            "index_mb": round((folder / structure.INDEX_FILE).stat().st_size / 1e6, 1),
            "vectors_mb": round((folder / "vectors.f16").stat().st_size / 1e6, 1),
            "load_average": round(psutil.getloadavg()[0], 1),
        }
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print(f"{'queries':<14}{'recall@10':>10}{'cpu ms':>9}{'median ms':>11}{'p95 ms':>9}")
    for row in rows:
        missed = row.recall_at_10 < TARGET_RECALL or row.median_ms >= TARGET_MS
        end = "  target missed" if missed else ""
        print(f"{row.queries:<14}{row.recall_at_10:>10}{row.cpu_ms:>9}{row.median_ms:>11}{row.p95_ms:>9}{end}")
    RESULTS.mkdir(exist_ok=True)
    report = facts | {"rows": [asdict(row) for row in rows]}
    (RESULTS / "retrieval.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
