"""Masks as pictures: greyscale PNG, white inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.images import encode
from services.core.masks import BadMaskCode
from services.core.types import MaskRLE


def mask_png(mask: MaskRLE) -> bytes:
    """Blocking.

    Raises:
        BadMaskCode: the code is damaged.
    """
    return _png(mask.to_array())


def union_png(masks: Sequence[MaskRLE]) -> bytes:
    """What is inside any of the masks. Blocking.

    Raises:
        BadMaskCode: a code is damaged, or they are not all of one size.
    """
    if len({mask.size for mask in masks}) > 1:
        raise BadMaskCode("the masks are of different sizes")
    union, *others = (mask.to_array() for mask in masks)
    for other in others:
        union = union | other
    return _png(union)


def _png(inside: NDArray[np.bool_]) -> bytes:
    return encode(Image.fromarray(inside.astype(np.uint8) * 255))
