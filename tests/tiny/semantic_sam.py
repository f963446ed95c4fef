"""The tiny SAM: semantic_sam runs the same architecture."""

from __future__ import annotations

from tests.tiny.sam import make

__all__ = ["make"]
