"""COCO's compressed run-length code of a mask, to and from numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llava_plus.errors import BadMask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mask_array(counts: str, height: int, width: int) -> NDArray[np.bool_]:
    """A boolean array of [height, width].

    Raises:
        BadMask: the code is damaged or of another size.
    """
    import numpy as np

    runs = _runs(counts)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise BadMask(f"The mask's code does not cover {height} x {width} pixels.")
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return columns.reshape((height, width), order="F")


def _runs(counts: str) -> list[int]:
    """Lengths of the runs, outside first: groups of five bits, each length relative to the one two before."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise BadMask("The mask's code is damaged.")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise BadMask("The mask's code is cut short.")
    return runs
