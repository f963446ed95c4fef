"""Retrieval indexes of made-up vectors: built and searched without a CLIP."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.retrieval.builder import IndexBuilder
from services.retrieval.entries import Entry
from services.retrieval.index import RetrievalIndex


class HashEncoder:
    """Vectors that depend on the text, or on the picture's first pixel, alone."""

    dim = 16
    fingerprint = "hash-1"

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._vector(text.encode()) for text in texts])

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        return np.stack([self._vector(bytes(np.asarray(picture)[0, 0])) for picture in pictures])

    def _vector(self, content: bytes) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        vector = np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
        return vector / np.linalg.norm(vector)


ENCODER = HashEncoder()


def build(folder: Path, captions: Sequence[str], batch_size: int = 8) -> None:
    IndexBuilder(folder, ENCODER, "hash", batch_size).run([Entry(text) for text in captions], len(captions))


def found(folder: Path, text: str, top_k: int = 1) -> list[str]:
    index = RetrievalIndex(folder, ENCODER.fingerprint)
    (hits,) = index.search(ENCODER.encode_texts([text]), [top_k])
    index.close()
    return [hit.caption for hit in hits]


def facts(count: int) -> list[str]:
    return [f"fact {number}" for number in range(count)]
