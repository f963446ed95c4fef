"""What holds for every result of every skill."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE, SkillResult

HANDLE = "img_" + "0" * 40
PARALLEL = ("boxes", "logits", "phrases", "masks_rle", "texts", "scores", "tags", "iou")
"""Result fields that go item by item; `tags` of a composite are more than its boxes."""
PIXEL_TOLERANCE = 3.0
MASK_AGREEMENT = 0.98


def check_answer(spec: SkillSpec, call: SkillCall[Any], answer: SkillResult | SkillError) -> None:
    """A well-formed result, or an error that tells the caller what to change."""
    if isinstance(answer, SkillError):
        assert isinstance(answer, BadArguments), answer
        assert len(answer.message) > 10
        argument = str(answer.details.get("argument", ""))
        known = {*spec.args_model.model_fields, *map(str, spec.consumes)}
        assert argument.partition(".")[0] in known, f"{spec.name} blames {argument!r}: {answer.message}"
        return
    assert type(answer) is spec.result_model
    assert spec.result_model.model_validate(answer.model_dump()) == answer
    _check_pictures(spec, answer)
    _check_size(call, answer)
    _check_lengths(answer)
    for brief in (True, False):
        # As the planner is shown it, once the gateway has put handles in the place of pictures.
        told = spec.result_model.model_validate(_stored(answer)).observation(brief=brief)
        json.dumps(told, allow_nan=False)


def _stored(answer: SkillResult) -> dict[str, Any]:
    pictures = {name: HANDLE for name, value in answer if isinstance(value, Image.Image)}
    data = answer.model_dump(mode="json", exclude=set(pictures)) | pictures
    json.dumps(data, allow_nan=False)
    return data


def _check_pictures(spec: SkillSpec, answer: SkillResult) -> None:
    for name, symbol in spec.produces.items():
        if symbol is not Symbol.MASK:
            assert isinstance(getattr(answer, name), Image.Image), f"{name} must be a picture"
    for name, value in answer:
        if isinstance(value, Image.Image):
            assert value.mode == "RGB", name


def _check_size(call: SkillCall[Any], answer: SkillResult) -> None:
    size = (answer.size.width, answer.size.height)  # type: ignore[attr-defined]
    made = [value.size for _, value in answer if isinstance(value, Image.Image)]
    given = [call.images[symbol].size for symbol in (Symbol.IMAGE, Symbol.IMAGE_SEG) if symbol in call.images]
    assert size in (made or given)
    for mask in getattr(answer, "masks_rle", ()):
        assert mask.size == (size[1], size[0])
        assert mask.to_array().shape == (size[1], size[0])


def _check_lengths(answer: SkillResult) -> None:
    lists = {name: getattr(answer, name) for name in PARALLEL if hasattr(answer, name)}
    if "boxes" in lists:
        lists.pop("tags", None)
    lengths = {name: len(items) for name, items in lists.items()}
    assert len(set(lengths.values())) <= 1, lengths


def check_alike(one: Any, other: Any, where: str = "") -> None:
    """The same up to what rounding in another batch changes."""
    if isinstance(one, SkillError) or isinstance(other, SkillError):
        assert type(one) is type(other), where
        assert one.message == other.message
    elif isinstance(one, MaskRLE):
        assert one.size == other.size, where
        assert (one.to_array() == other.to_array()).mean() >= MASK_AGREEMENT, where
    elif isinstance(one, BaseModel):
        for name, value in one:
            check_alike(value, getattr(other, name), f"{where}.{name}")
    elif isinstance(one, Image.Image):
        difference = np.asarray(one, float) - np.asarray(other, float)
        assert np.abs(difference).mean() <= PIXEL_TOLERANCE, where
    elif isinstance(one, float):
        assert abs(one - other) <= 2e-2, where
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            check_alike(left, right, f"{where}[{index}]")
    else:
        assert one == other, where
