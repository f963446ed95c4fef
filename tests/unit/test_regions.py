from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.models.regions import LEAST_SHARE, Region, around, joined, tiles, whole

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))
EDGES = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


def pixels_of(region: Region, size: tuple[int, int]) -> np.ndarray:
    return region.outside(np.ones((region.size[1], region.size[0]), np.bool_), size)


@given(SIZES, EDGES, EDGES, st.floats(1, 8))
def test_a_region_around_a_box_holds_it_and_lies_in_the_picture(
    size: tuple[int, int], across: list[float], down: list[float], factor: float
) -> None:
    region = around((across[0], down[0], across[1], down[1]), size, factor)
    assert 0 <= region.left < region.right <= size[0]
    assert 0 <= region.top < region.bottom <= size[1]
    # To half a pixel: a region is of whole pixels.
    assert region.left - 0.51 <= across[0] * size[0] <= across[1] * size[0] <= region.right + 0.51
    assert region.top - 0.51 <= down[0] * size[1] <= down[1] * size[1] <= region.bottom + 0.51


def test_a_region_is_a_square_of_so_many_sides_and_never_too_small() -> None:
    assert around((0.4, 0.45, 0.6, 0.55), (200, 200), 2.0) == Region(60, 60, 140, 140)
    assert around((0.0, 0.0, 0.2, 0.1), (200, 200), 2.0) == Region(0, 0, 80, 80)
    assert around((0.5, 0.5, 0.5, 0.5), (200, 100), 2.0).size == (200 * LEAST_SHARE, 200 * LEAST_SHARE)
    assert around((0.1, 0.1, 0.9, 0.9), (200, 100), 2.0) == whole((200, 100))


@given(SIZES, st.integers(1, 4))
def test_tiles_cover_the_picture_and_are_of_one_size(size: tuple[int, int], count: int) -> None:
    found = tiles(size, count)
    assert len(found) == count**2
    assert len({region.size for region in found}) == 1
    assert np.logical_or.reduce([pixels_of(region, size) for region in found]).all()


def test_one_tile_is_the_whole_picture() -> None:
    picture = Image.new("RGB", (7, 5))
    (tile,) = tiles(picture.size, 1)
    assert tile == whole(picture.size)
    assert tile.cut(picture) is picture


def test_points_are_those_of_the_part_that_is_cut_out() -> None:
    region = Region(20, 10, 60, 50)
    assert region.point((0.4, 0.3), (100, 100)) == (0.5, 0.5)
    assert region.point((0.0, 1.0), (100, 100)) == (0.0, 1.0)
    assert region.holds((0.2, 0.5), (100, 100))
    assert not region.holds((0.61, 0.3), (100, 100))


@given(SIZES, SIZES, st.integers(1, 3))
def test_scaled_tiles_cover_the_picture_at_its_other_size(
    size: tuple[int, int], other: tuple[int, int], count: int
) -> None:
    found = [tile.scaled(size, other) for tile in tiles(size, count)]
    assert np.logical_or.reduce([pixels_of(region, other) for region in found]).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_maps_of_tiles_join_to_what_they_were_cut_from(count: int) -> None:
    size = (40, 30)
    row = torch.linspace(0, 1, size[0]).expand(2, size[1], -1)
    parts = tiles(size, count)
    maps = [row[:, part.top : part.bottom, part.left : part.right] for part in parts]
    torch.testing.assert_close(joined(parts, maps, size), row)
