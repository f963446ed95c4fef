"""OCR with EasyOCR (https://github.com/JaidedAI/EasyOCR): CRAFT finds text, a CRNN reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from services.core.checksums import verify_sha256
from services.core.errors import SkillError
from services.core.skill import Skill, SkillCall
from services.core.types import Box, ImageSize, Score, SkillArgs, SkillResult

WEIGHTS_SHA256 = {
    "craft_mlt_25k.pth": "4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17",
    "english_g2.pth": "e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8",
}


class EasyOcrArgs(SkillArgs):
    """Arguments of easyocr."""

    languages: tuple[Literal["en"], ...] = Field(
        default=("en",), min_length=1, max_length=1, description="Languages to read; the shipped weights read English."
    )


class EasyOcrResult(SkillResult):
    """Lines of text in reading order: top to bottom, then left to right."""

    boxes: list[Box]
    texts: list[str]
    scores: list[Score]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        return {"text": "\n".join(self.texts)} if brief else super().observation(brief=False)


class EasyOcr(Skill[EasyOcrArgs, EasyOcrResult]):
    """Reads the text in a picture.

    Gives every line with its box and a confidence, in reading order.
    """

    name = "easyocr"
    aliases = ("ocr",)
    default_checkpoint = "craft_mlt_25k+english_g2"
    Args = EasyOcrArgs
    Result = EasyOcrResult

    def setup(self) -> None:
        import easyocr

        self._reader = easyocr.Reader(
            ["en"],
            gpu=False if self.device == "cpu" else self.device,
            model_storage_directory=str(verified_weights(self.checkpoint, self.options)),
            download_enabled=False,
            verbose=False,
            quantize=False,
        )

    def predict(self, batch: Sequence[SkillCall[EasyOcrArgs]]) -> Sequence[EasyOcrResult | SkillError]:
        return [self._read(call) for call in batch]

    def _read(self, call: SkillCall[EasyOcrArgs]) -> EasyOcrResult:
        width, height = call.image.size
        found = self._reader.readtext(np.asarray(call.image))
        lines = sorted(((_box(corners, width, height), text, float(score)) for corners, text, score in found), key=_row)
        return EasyOcrResult(
            boxes=[box for box, _, _ in lines],
            texts=[text for _, text, _ in lines],
            scores=[min(max(score, 0.0), 1.0) for _, _, score in lines],
            size=ImageSize(width=width, height=height),
        )


def verified_weights(checkpoint: str | None, options: dict[str, Any]) -> Path:
    """The folder with CRAFT's and the recogniser's weights, checked before anything unpickles them.

    Raises:
        SkillFailed: a file is missing or its checksum is not the expected one.
    """
    if checkpoint is None:
        from easyocr_en_models import model_dir

        folder = Path(model_dir())
    else:
        folder = Path(checkpoint)
    for name, expected in (WEIGHTS_SHA256 | options.get("sha256", {})).items():
        verify_sha256(folder / name, expected)
    return folder


def _box(corners: Any, width: int, height: int) -> Box:
    points = np.clip(np.asarray(corners, dtype=float) / (width, height), 0.0, 1.0)
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _row(line: tuple[Box, str, float]) -> tuple[float, float]:
    (x0, y0, _, y1), _, _ = line
    return round((y0 + y1) / 2, 2), x0
