from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from services.models.diffusion.geometry import resized, resized_labels, working_size


def test_a_square_of_any_size_is_painted_at_the_models_own() -> None:
    assert {working_size((side, side), side=512, multiple=8) for side in (1, 100, 512, 4000)} == {(512, 512)}


def test_other_shapes_keep_their_aspect_ratio_and_about_the_models_area() -> None:
    width, height = working_size((1600, 900), side=512, multiple=8)
    assert (width % 8, height % 8) == (0, 0)
    assert width / height == pytest.approx(16 / 9, rel=0.02)
    assert width * height == pytest.approx(512 * 512, rel=0.05)


@pytest.mark.parametrize("size", [(2000, 100), (10000, 1), (1, 10000)])
def test_extreme_shapes_are_bounded(size: tuple[int, int]) -> None:
    assert sorted(working_size(size, side=512, multiple=8)) == [128, 2048]


def test_a_side_is_never_less_than_one_cell() -> None:
    assert working_size((1000, 10), side=32, multiple=16) == (128, 16)


def test_resizing_labels_mixes_no_colours() -> None:
    labels = Image.fromarray(np.random.default_rng(0).choice([0, 200], (9, 7, 3)).astype(np.uint8))
    assert set(np.unique(np.asarray(resized_labels(labels, (64, 33))))) <= {0, 200}


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = Image.new("RGB", (8, 8))
    assert resized(picture, (8, 8)) is picture
