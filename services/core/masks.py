"""COCO's compressed run-length code, read with every check that a code from outside needs.

The format (cocoapi's maskApi): lengths of runs in column-major order, outside first. A length is written as its
difference to the one two before it (from the fourth on), in groups of five bits, lowest first, one character a group
(48 + bits, and 32 more where another group follows); the last group's highest bit is the sign.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CODE_CHARS_MAX = 2 * 2**20
"""Longest code that is read, characters; a mask with more runs than this holds is smaller as a PNG."""
_GROUPS_MAX = 7


class BadMaskCode(ValueError):
    """The text is not the code of a mask of that size; the message says why."""


def decode_rle(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask as a [height, width] array.

    Raises:
        BadMaskCode: damaged, cut short, or of another size.
    """
    if height < 1 or width < 1:
        raise BadMaskCode(f"size is [height, width] in pixels, both at least 1, not [{height}, {width}]")
    runs = run_lengths(counts)
    pixels = height * width
    if ((runs < 0) | (runs > pixels)).any() or int(runs.sum()) != pixels:
        raise BadMaskCode(f"counts does not cover {height} x {width} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def run_lengths(counts: str) -> NDArray[np.int64]:
    """The lengths of the runs, outside and inside by turns; they may be wrong for any mask.

    Raises:
        BadMaskCode: no such code.
    """
    if not counts or len(counts) > CODE_CHARS_MAX:
        raise BadMaskCode(f"counts must have 1 to {CODE_CHARS_MAX} characters")
    if not counts.isascii():
        raise BadMaskCode("counts has characters that no code has")
    digits = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if digits.min() < 0 or digits.max() > 63:
        raise BadMaskCode("counts has characters that no code has")
    ends = np.flatnonzero(digits < 32)
    if not len(ends) or ends[-1] != len(digits) - 1:
        raise BadMaskCode("counts is cut short")
    starts = np.concatenate(([0], ends[:-1] + 1))
    groups = ends - starts + 1
    if groups.max() > _GROUPS_MAX:
        raise BadMaskCode("counts has a run that is longer than any picture")
    place = np.arange(len(digits)) - np.repeat(starts, groups)
    values = np.add.reduceat((digits & 31) << (5 * place), starts)
    negative = (digits[ends] & 16) > 0
    values = np.where(negative, values - (np.int64(1) << (5 * groups)), values)
    # The first three lengths are written as they are.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
