from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from services.core.images import decode
from services.core.masks import CODE_CHARS_MAX, BadMaskCode, decode_rle, run_lengths
from services.core.types import MaskRLE

SIDES = st.integers(1, 40)


@given(SIDES.flatmap(lambda h: SIDES.flatmap(lambda w: arrays(np.bool_, (h, w)))))
def test_what_pycocotools_encodes_is_read_back(mask: np.ndarray) -> None:
    code = MaskRLE.from_array(mask)
    assert code.size == mask.shape
    assert np.array_equal(code.to_array(), mask)


def test_long_runs_and_many_runs_are_read_back() -> None:
    mask = np.random.default_rng(0).random((700, 900)) < 0.001
    mask[:300] = True
    assert np.array_equal(MaskRLE.from_array(mask).to_array(), mask)


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), min_size=1, max_size=30), SIDES, SIDES)
def test_any_code_is_a_mask_of_the_size_or_refused(counts: str, height: int, width: int) -> None:
    try:
        mask = decode_rle(counts, height, width)
    except BadMaskCode:
        return
    assert mask.shape == (height, width)


@pytest.mark.parametrize(
    ("counts", "size", "told"),
    [
        ("", (2, 2), "1 to"),
        ("0" * (CODE_CHARS_MAX + 1), (2, 2), "1 to"),
        ("4", (0, 4), "both at least 1"),
        ("4", (-2, -2), "both at least 1"),
        ("4", (2, 3), "does not cover"),
        ("?5", (2, 2), "does not cover"),
        ("P", (2, 2), "cut short"),
        ("4 ", (2, 2), "characters that no code has"),
        ("é", (2, 2), "characters that no code has"),
        ("o" * 10 + "0", (2, 2), "longer than any picture"),
        ("ooooooO" * 9, (2, 2), "does not cover"),
    ],
)
def test_a_damaged_code_is_refused_with_the_reason(counts: str, size: tuple[int, int], told: str) -> None:
    with pytest.raises(BadMaskCode, match=told):
        decode_rle(counts, *size)


def test_runs_alternate_and_start_outside() -> None:
    code = MaskRLE.from_array(np.array([[True, True], [False, False]]))
    assert run_lengths(code.counts).tolist() == [0, 1, 1, 1, 1]


def palette_mask(inside: np.ndarray) -> Image.Image:
    """Index 0 is white and index 1 black: the indices are not the colours."""
    mask = Image.fromarray((~inside).astype(np.uint8), "L")
    mask = Image.frombytes("P", mask.size, mask.tobytes())
    mask.putpalette([255, 255, 255, 0, 0, 0])
    return mask


INSIDE = np.zeros((6, 9), bool)
INSIDE[2:5, 3:8] = True
GREY = Image.fromarray(INSIDE.astype(np.uint8) * 255)


@pytest.mark.parametrize(
    "mask",
    [
        GREY,
        GREY.convert("1"),
        GREY.convert("RGB"),
        GREY.convert("RGBA"),
        GREY.convert("LA"),
        palette_mask(INSIDE),
        GREY.quantize(2),
        Image.fromarray(INSIDE.astype(np.uint16) * 65535),
    ],
    ids=lambda mask: mask.mode,
)
def test_a_mask_picture_in_any_mode_is_white_inside_once_decoded(mask: Image.Image) -> None:
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    decoded = np.asarray(decode(buffer.getvalue()))
    assert np.array_equal(decoded.max(axis=2) > 127, INSIDE)
    assert np.array_equal(decoded.min(axis=2) > 127, INSIDE)
