from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.models.palette import CLASSES_MAX, NO_CLASS, class_ids, paint, palette


def test_the_first_colours_are_those_of_ade20k() -> None:
    assert palette(3).tolist() == [[120, 120, 120], [180, 120, 120], [6, 230, 230]]
    assert palette(150)[149].tolist() == [92, 0, 255]


@pytest.mark.parametrize("count", [0, 1, 150, 151, CLASSES_MAX])
def test_all_colours_differ_and_none_is_black(count: int) -> None:
    colours = {tuple(colour) for colour in palette(count).tolist()}
    assert len(colours) == count
    assert (0, 0, 0) not in colours


def test_a_longer_palette_starts_with_the_shorter_one() -> None:
    assert (palette(300)[:200] == palette(200)).all()


def test_generated_colours_are_far_apart_while_there_are_few() -> None:
    few = palette(166)[150:].astype(int)
    apart = np.abs(few[:, None] - few[None]).max(axis=2) + 256 * np.eye(len(few), dtype=int)
    assert apart.min() >= 64


def test_too_many_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 4096 colours, not 4097"):
        palette(CLASSES_MAX + 1)


@given(st.integers(1, CLASSES_MAX), st.integers(0, 2**32 - 1))
def test_a_painted_map_reads_back_as_it_was(count: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(NO_CLASS, count, size=(7, 5))
    assert (class_ids(paint(ids, count), count) == ids).all()


def test_a_foreign_colour_is_no_class_unless_the_nearest_is_asked_for() -> None:
    picture = np.array([[[121, 119, 120], [2, 0, 1]]], dtype=np.uint8)
    assert class_ids(picture, 150).tolist() == [[NO_CLASS, NO_CLASS]]
    assert class_ids(picture, 150, nearest=True).tolist() == [[0, NO_CLASS]]
