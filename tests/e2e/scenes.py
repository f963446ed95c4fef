"""Example scenes of the embedded world with their exact labels."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.types import MaskRLE
from tests.e2e.conftest import ROOT

SCENES = ROOT / "tests" / "data" / "scenes"
Box = tuple[float, float, float, float]


class Scene:
    """One scene; `data` is its picture as a PNG file."""

    def __init__(self, name: str) -> None:
        self._labels: dict[str, Any] = json.loads((SCENES / f"{name}.json").read_text())
        with Image.open(SCENES / f"{name}.webp") as picture:
            self.pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGB"))
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        self.data = buffer.getvalue()

    @property
    def tags(self) -> Sequence[str]:
        found: list[str] = self._labels["tags"]
        return found

    @property
    def sign(self) -> str:
        """What the only sign says, in one line."""
        (text,) = (item["text"] for item in self._labels["objects"] if item["text"])
        return " ".join(text.split())

    def boxes(self, concept: str) -> list[Box]:
        return [tuple(item["box"]) for item in self._labels["objects"] if item["concept"] == concept]

    def mask(self, concept: str) -> NDArray[np.bool_]:
        """All of a concept's visible pixels, [height, width]."""
        codes = [item["mask"] for item in self._labels["objects"] if item["concept"] == concept]
        masks = [MaskRLE.model_validate(code).to_array().astype(bool) for code in codes]
        return np.asarray(np.logical_or.reduce(masks))
