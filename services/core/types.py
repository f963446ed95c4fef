"""Types that skills share.

Coordinates are xyxy, normalised to 0..1 of the picture's width and height, origin at the top left,
in full precision; `ImageSize` is in pixels after EXIF rotation. Masks are COCO run-length codes.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from services.core.masks import decode_rle

IMAGE_ID_PATTERN = r"^img_[0-9a-f]{40}$"

ImageRef = Annotated[
    str, Field(pattern=IMAGE_ID_PATTERN, description="Handle of a stored picture: `img_` and 40 hex digits.")
]
Score = Annotated[float, Field(ge=0.0, le=1.0)]
_Unit = Annotated[float, Field(ge=0.0, le=1.0)]


def _ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        raise ValueError("a box is [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1")
    return box


Box = Annotated[
    tuple[_Unit, _Unit, _Unit, _Unit],
    AfterValidator(_ordered),
    Field(description="[x0, y0, x1, y1], normalised to 0..1 of width and height, origin top left."),
]


Point = Annotated[
    tuple[_Unit, _Unit], Field(description="[x, y], normalised to 0..1 of width and height, origin top left.")
]


class ImageSize(BaseModel):
    """Pixels, after EXIF rotation."""

    model_config = ConfigDict(frozen=True)

    width: int = Field(ge=1)
    height: int = Field(ge=1)


class MaskRLE(BaseModel):
    """A binary mask as COCO compressed run-length code; `size` is [height, width] in pixels."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int]
    counts: str

    @classmethod
    def from_array(cls, mask: NDArray[np.bool_]) -> MaskRLE:
        """Encode a [height, width] array; whatever is not zero is inside."""
        from pycocotools import mask as coco

        code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        return cls(size=(mask.shape[0], mask.shape[1]), counts=code["counts"].decode("ascii"))

    def to_array(self) -> NDArray[np.bool_]:
        """The mask as a [height, width] array.

        Raises:
            BadMaskCode: `counts` is damaged or does not fit `size`.
        """
        return decode_rle(self.counts, *self.size)


class _PictureField:
    """Pydantic's side of `Picture`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.union_schema(
            [core_schema.is_instance_schema(Image.Image), core_schema.str_schema(pattern=IMAGE_ID_PATTERN)]
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": IMAGE_ID_PATTERN,
            "description": "Handle of the produced picture: `img_` and 40 hex digits.",
        }


Picture = Annotated[Image.Image | str, _PictureField()]
"""A picture that a skill produces, as a field of its result.

The skill gives an RGB `PIL.Image`; the gateway stores it, and everybody after it sees the handle.
"""


class SkillArgs(BaseModel):
    """Base of every skill's arguments. Unknown arguments are refused, so that typos are seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SkillResult(BaseModel):
    """Base of every skill's result."""

    model_config = ConfigDict(extra="forbid")

    def observation(self, *, brief: bool) -> dict[str, Any]:
        """What the planner is told: coordinates rounded to 2 decimals, as in the paper.

        `brief` leaves out what a small planner pays for in tokens and does not use; a result
        decides itself what that is.
        """
        del brief
        rounded = _round_floats(self.model_dump(mode="json", exclude_none=True))
        assert isinstance(rounded, dict)
        return rounded


def _round_floats(value: Any, digits: int = 2) -> Any:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, list):
        return [_round_floats(item, digits) for item in value]
    if isinstance(value, dict):
        return {key: _round_floats(item, digits) for key, item in value.items()}
    return value
