"""OCR with EasyOCR (https://github.com/JaidedAI/EasyOCR): CRAFT finds text, a CRNN reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from services.core.checksums import verify_sha256
from services.core.errors import SkillError
from services.core.skill import SkillCall
from services.core.types import Box, ImageSize, Score, SkillArgs, SkillResult
from services.models.aspect import within_ratio
from services.models.mixed_precision import in_precision
from services.models.torch_skill import TorchOptions, TorchSkill

DETECTOR = "craft_mlt_25k.pth"
RECOGNISER = "english_g2.pth"
RECOGNISER_SIZES = {"input_channel": 1, "output_channel": 256, "hidden_size": 256}
"""EasyOCR's second generation, written into its reader."""
WEIGHTS_SHA256 = {
    DETECTOR: "4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17",
    RECOGNISER: "e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8",
}

RATIO_MAX = 512
"""CRAFT scales pictures to at most 2560 pixels a side: of one that is longer than this many times its short side there
would be nothing left to look at."""


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
        if not brief:
            return super().observation(brief=False)
        return {"text": "\n".join(" ".join(self.texts[index] for index in row) for row in rows(self.boxes))}


class EasyOcrOptions(TorchOptions):
    """Settings of easyocr. In bfloat16 and channels-last CRAFT takes a quarter of the time on a CPU that has it."""

    sha256: dict[str, str] = Field(default_factory=dict, description="Checksums of weight files of your own, by name.")
    lines_at_once: int = Field(16, ge=1, description="Lines that a GPU reads in one batch; a CPU reads one at a time.")


class EasyOcr(TorchSkill[EasyOcrArgs, EasyOcrResult]):
    """Reads the text in a picture.

    Gives every line with its box and a confidence, in reading order.
    """

    name = "easyocr"
    aliases = ("ocr",)
    default_checkpoint = "craft_mlt_25k+english_g2"
    Args = EasyOcrArgs
    Result = EasyOcrResult
    Options = EasyOcrOptions
    settings: EasyOcrOptions

    def setup(self) -> None:
        self._reader = english_reader(verified_weights(self.checkpoint, self.settings.sha256), self.device)
        self._reader.detector = self._quick(self._reader.detector)
        self._reader.recognizer = self._quick(self._reader.recognizer)

    def _quick(self, network: Any) -> Any:
        """A network of the reader's in the configured precision; what comes out of it is float32 as before."""
        return in_precision(self.made_ready(network), self.torch_dtype, self.device)

    def predict(self, batch: Sequence[SkillCall[EasyOcrArgs]]) -> Sequence[EasyOcrResult | SkillError]:
        return [self._read(call) for call in batch]

    def _read(self, call: SkillCall[EasyOcrArgs]) -> EasyOcrResult:
        width, height = call.image.size
        seen = within_ratio(call.image, RATIO_MAX)
        found = self._reader.readtext(np.asarray(seen), batch_size=self.settings.lines_at_once)
        boxes = [_box(corners, seen.width, seen.height) for corners, _, _ in found]
        order = [index for row in rows(boxes) for index in row]
        return EasyOcrResult(
            boxes=[boxes[index] for index in order],
            texts=[found[index][1] for index in order],
            scores=[min(max(float(found[index][2]), 0.0), 1.0) for index in order],
            size=ImageSize(width=width, height=height),
        )


def english_reader(folder: Path, device: str) -> Any:
    """EasyOCR's reader of English with the networks in a folder.

    They are put into the reader from outside: by itself it refuses, by MD5, all weights but the published ones.
    """
    import easyocr
    from easyocr.detection import get_detector, get_textbox
    from easyocr.recognition import get_recognizer

    made = easyocr.Reader(
        ["en"],
        gpu=False if device == "cpu" else device,
        model_storage_directory=str(folder),
        download_enabled=False,
        detector=False,
        recognizer=False,
        verbose=False,
    )
    made.get_textbox = get_textbox
    made.detector = get_detector(str(folder / DETECTOR), device, quantize=False)
    words = Path(easyocr.__file__).parent / "dict" / "en.txt"
    made.recognizer, made.converter = get_recognizer(
        "generation2",
        RECOGNISER_SIZES,
        made.character,
        {},
        {"en": str(words)},
        str(folder / RECOGNISER),
        device,
        quantize=False,
    )
    return made


def verified_weights(checkpoint: str | None, sha256: Mapping[str, str]) -> Path:
    """The folder with CRAFT's and the recogniser's weights, checked before anything unpickles them.

    Args:
        sha256: checksums of other weights than the shipped ones, by file name.

    Raises:
        SkillFailed: a file is missing or its checksum is not the expected one.
    """
    if checkpoint is None:
        from easyocr_en_models import model_dir

        folder = Path(model_dir())
    else:
        folder = Path(checkpoint)
    for name, expected in (WEIGHTS_SHA256 | dict(sha256)).items():
        verify_sha256(folder / name, expected)
    return folder


def _box(corners: Any, width: int, height: int) -> Box:
    points = np.clip(np.asarray(corners, dtype=float) / (width, height), 0.0, 1.0)
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def rows(boxes: Sequence[Box]) -> list[list[int]]:
    """Indices of `boxes` in reading order: rows from the top, each from the left.

    A box belongs to the row above it when its middle is higher than the bottom of the row's first box.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda i: boxes[i][1] + boxes[i][3]):
        _, y0, _, y1 = boxes[index]
        if found and (y0 + y1) / 2 < boxes[found[-1][0]][3]:
            found[-1].append(index)
        else:
            found.append([index])
    return [sorted(row, key=lambda i: boxes[i][0]) for row in found]
