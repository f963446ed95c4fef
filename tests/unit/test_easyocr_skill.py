from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from services.core.errors import SkillFailed
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.skills.easyocr import WEIGHTS_SHA256, EasyOcr, EasyOcrArgs, EasyOcrResult, verified_weights


class FoundLines:
    """Answers like `easyocr.Reader`: corner points in pixels, text, confidence."""

    def __init__(self, *found: tuple[list[list[float]], str, float]) -> None:
        self.found = list(found)

    def readtext(self, picture: Any, batch_size: int) -> list[tuple[list[list[float]], str, float]]:
        self.batch_size = batch_size
        return self.found


def corners(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def read(*found: tuple[list[list[float]], str, float]) -> EasyOcrResult:
    skill = EasyOcr()
    skill._reader = FoundLines(*found)
    picture = Image.new("RGB", (200, 100))
    (answer,) = skill.predict([SkillCall(EasyOcrArgs(), {Symbol.IMAGE: picture})])
    assert isinstance(answer, EasyOcrResult)
    return answer


def test_weights_that_are_not_the_published_ones_refuse_to_load(tmp_path: Path) -> None:
    for name in WEIGHTS_SHA256:
        (tmp_path / name).write_bytes(b"something else, which unpickling might run")
    with pytest.raises(SkillFailed, match=r"craft_mlt_25k\.pth has checksum .* Reinstall the package"):
        EasyOcr(checkpoint=str(tmp_path)).setup()


def test_own_weights_load_when_their_checksums_are_given(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="runs CRAFT")
    published = verified_weights(None, {})
    sums = {}
    for name in WEIGHTS_SHA256:
        weights = torch.load(published / name, map_location="cpu", weights_only=True)
        changed = {key: value + 0.001 if value.is_floating_point() else value for key, value in weights.items()}
        torch.save(changed, tmp_path / name)
        sums[name] = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    skill = EasyOcr(checkpoint=str(tmp_path), sha256=sums)
    skill.setup()
    (answer,) = skill.predict([SkillCall(EasyOcrArgs(), {Symbol.IMAGE: Image.new("RGB", (64, 48), "white")})])
    assert isinstance(answer, EasyOcrResult)


def test_lines_come_in_reading_order_with_normalised_boxes() -> None:
    answer = read(
        (corners(10, 50, 90, 70), "second", 0.5),
        (corners(110, 12, 190, 30), "first, right", 0.9),
        (corners(10, 10, 90, 30), "first, left", 0.8),
    )
    assert answer.texts == ["first, left", "first, right", "second"]
    assert answer.boxes[0] == (0.05, 0.1, 0.45, 0.3)
    assert (answer.size.width, answer.size.height) == (200, 100)


def test_words_on_one_line_are_told_to_the_planner_as_one_line() -> None:
    answer = read(
        (corners(110, 14, 190, 34), "4 pm", 0.9),
        (corners(10, 10, 90, 30), "10 am to", 0.9),
        (corners(10, 40, 90, 60), "Town Library", 0.9),
    )
    assert answer.observation(brief=True) == {"text": "10 am to 4 pm\nTown Library"}
    assert answer.texts == ["10 am to", "4 pm", "Town Library"]


def test_lines_are_read_in_batches_of_the_configured_size() -> None:
    skill = EasyOcr(lines_at_once=5)
    skill._reader = reader = FoundLines()
    skill.predict([SkillCall(EasyOcrArgs(), {Symbol.IMAGE: Image.new("RGB", (20, 10))})])
    assert reader.batch_size == 5


def test_boxes_that_reach_over_the_edge_are_cut() -> None:
    answer = read((corners(-5, -5, 210, 50), "wide", 1.2))
    assert answer.boxes == [(0.0, 0.0, 1.0, 0.5)]
    assert answer.scores == [1.0]


def test_boxes_in_a_thread_are_those_of_the_whole_thread() -> None:
    skill = EasyOcr()
    seen: list[tuple[int, ...]] = []

    class Half(FoundLines):
        def readtext(self, picture: Any, batch_size: int) -> list[tuple[list[list[float]], str, float]]:
            seen.append(picture.shape)
            height, width, _ = picture.shape
            return [(corners(0, 0, width / 2, height), "left half", 0.5)]

    skill._reader = Half()
    (answer,) = skill.predict([SkillCall(EasyOcrArgs(), {Symbol.IMAGE: Image.new("RGB", (3000, 1))})])
    assert isinstance(answer, EasyOcrResult)
    assert seen == [(6, 3000, 3)]
    assert answer.boxes == [(0.0, 0.0, 0.5, 1.0)]
    assert (answer.size.width, answer.size.height) == (3000, 1)


def test_a_picture_without_text_gives_empty_lists() -> None:
    answer = read()
    assert (answer.boxes, answer.texts, answer.scores) == ([], [], [])


def test_a_small_planner_is_told_the_text_alone() -> None:
    answer = read((corners(0, 0, 100, 50), "hello", 0.987))
    assert answer.observation(brief=True) == {"text": "hello"}
    full = answer.observation(brief=False)
    assert full["boxes"] == [[0.0, 0.0, 0.5, 0.5]]
    assert full["scores"] == [0.99]
