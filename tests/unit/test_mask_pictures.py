from __future__ import annotations

import numpy as np
from PIL import Image

from services.models.mask_pictures import inside


def test_a_pixel_is_inside_where_any_channel_is_bright() -> None:
    pixels = np.array([[[0, 0, 0], [0, 128, 0], [127, 127, 127], [255, 255, 255]]], dtype=np.uint8)
    assert inside(Image.fromarray(pixels), (4, 1)).tolist() == [[False, True, False, True]]


def test_a_mask_of_another_size_takes_the_pictures() -> None:
    mask = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
    found = inside(mask, (4, 2))
    assert found.tolist() == [[False, False, True, True]] * 2
