"""What a real skill is given for a call of training data: pictures, masks and maps by what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from planner.data.labels import LabelledPicture, Mask
from planner.data.results import Asked, NoResult
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE

Input = Image.Image | str
"""A picture, or the handle of one that a skill made."""


def inputs_of(spec: SkillSpec, asked: Asked) -> dict[Symbol, Input]:
    """Everything that the skill consumes.

    Raises:
        NoResult: something cannot be had.
    """
    return {symbol: _input(symbol, asked) for symbol in sorted(spec.consumes)}


def _input(symbol: Symbol, asked: Asked) -> Input:
    if symbol in asked.symbols:
        made = asked.symbols[symbol]
        return _mask_picture(_union(made)) if symbol is Symbol.MASK else str(made)
    if symbol is Symbol.IMAGE:
        return _pixels(asked.picture)
    if symbol is Symbol.MASK:
        return _mask_picture(_drawn(asked.picture))
    if asked.reference is not None and symbol is Symbol.REFERENCE_IMAGE:
        return _pixels(asked.reference[0])
    if asked.reference is not None and symbol is Symbol.REFERENCE_MASK:
        example, index = asked.reference
        mask = example.objects[index].mask
        if mask is not None:
            return _mask_picture(mask())
    raise NoResult(f"{asked.skill}: there is no {symbol.replace('_', ' ')} to work on")


def _pixels(picture: LabelledPicture | None) -> Image.Image:
    if picture is None or picture.pixels is None:
        raise NoResult("the picture's file is not there")
    return picture.pixels()


def _drawn(picture: LabelledPicture | None) -> Mask:
    """The mask that a person drew: of the largest thing that has one."""
    masks = [item for item in picture.objects if item.mask is not None] if picture else []
    if not masks:
        raise NoResult("the picture has no mask to draw")
    largest = max(masks, key=lambda item: item.area)
    assert largest.mask is not None
    return largest.mask()


def _union(codes: Any) -> Mask:
    one_or_more = codes if isinstance(codes, list) else [codes]
    masks = [MaskRLE.model_validate(code).to_array() for code in one_or_more]
    found: Mask = np.logical_or.reduce(masks)
    return found


def _mask_picture(mask: Mask) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)
