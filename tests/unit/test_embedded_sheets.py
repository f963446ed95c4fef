"""Sheets of good and bad cases: which are chosen, how they are drawn, how big they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.core.skill import SkillCall
from services.embedded.eval import evaluate
from services.embedded.eval.drawing import with_boxes, with_masks, with_points, with_title
from services.embedded.eval.results import SplitResult
from services.embedded.eval.scorer import Example, Score, Scorer
from services.embedded.eval.sheet import BYTES_MAX, chosen, save, sheet, wrapped
from services.embedded.eval.splits import Split, picture
from tests.eval_oracle import Oracle, scenes, split

GREY = Image.new("RGB", (256, 256), (120, 120, 120))


def example(score: float, caption: str = "a case") -> Example:
    return Example(score, [caption], lambda: [GREY])


def test_good_cases_come_from_the_better_half_and_bad_ones_are_the_worst() -> None:
    cases = [example(index / 10) for index in range(11)]

    good, bad = chosen(cases, 3)

    assert [case.score for case in bad] == [0.0, 0.1, 0.2]
    assert [case.score for case in good] == [0.6, 0.7, 0.9]
    assert chosen(cases[:1], 3) == ([], cases[:1])


def test_where_all_is_right_no_case_is_bad() -> None:
    good, bad = chosen([example(1.0) for _ in range(4)], 8)

    assert bad == []
    assert len(good) == 2


def test_where_most_is_wrong_the_few_that_are_right_are_the_good_ones() -> None:
    good, bad = chosen([*(example(0.5) for _ in range(9)), example(1.0)], 3)

    assert [case.score for case in good] == [1.0]
    assert [case.score for case in bad] == [0.5] * 3


def test_where_all_is_alike_and_wrong_no_case_is_good() -> None:
    assert chosen([example(0.3) for _ in range(9)], 3)[0] == []


def test_a_sheet_stays_small_even_of_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)) for _ in range(2)]
    cases = [Example(0.0, ["noise " * 60], lambda: noise) for _ in range(8)]

    save(sheet([("Bad", cases)]), tmp_path / "sheet.webp")

    assert (tmp_path / "sheet.webp").stat().st_size <= BYTES_MAX


def test_text_is_wrapped_at_words() -> None:
    lines = wrapped("a very long sentence about a picture of a dog on a beach", 120)

    assert len(lines) > 2
    assert " ".join(lines) == "a very long sentence about a picture of a dog on a beach"
    assert wrapped("", 100) == [""]


def test_drawing_leaves_the_picture_itself_alone() -> None:
    (drawn,) = scenes(1)
    shown = picture(drawn)
    before = shown.tobytes()
    empty = np.zeros(drawn.instances.shape, np.bool_)

    changed = [
        with_boxes(shown, [((0.1, 0.1, 0.9, 0.9), "dog", (255, 0, 0)), ((0.0, 0.0, 0.0, 0.0), "", (0, 255, 0))]),
        with_masks(shown, [(drawn.mask(0), "a long name that does not fit", (255, 0, 0)), (empty, "none", (0, 0, 0))]),
        with_points(shown, [(0.0, 1.0)]),
        with_title(shown, "given"),
    ]

    assert shown.tobytes() == before
    assert all(one.size == shown.size and one.tobytes() != before for one in changed)


def test_a_score_without_examples_has_no_sheet(tmp_path: Path) -> None:
    class Silent(Scorer):
        """Finds nothing to ask."""

        skill = "easyocr"

        def score(self, skills: Any, split: Split) -> Score:
            return Score({"words": float("nan")}, {"signs": 0}, [])

        def call(self, drawn: Any) -> SkillCall[Any]:
            raise NotImplementedError

    found = evaluate._on(Silent(), Oracle([]), split([]), tmp_path)

    assert found == SplitResult({}, {"signs": 0}, [], "")
