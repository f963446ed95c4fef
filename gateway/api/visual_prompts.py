"""What a person points at, as typed parts of a message: points, boxes, a drawn mask, a reference picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from gateway.api.pictures import handle_of
from gateway.parts import GatewayParts
from gateway.state.models import Marks
from services.core.spec import Symbol
from services.core.types import Box, MaskRLE, Point

MARKS_MAX = 64

MaskGiven = Annotated[
    Annotated[str, Tag("picture")] | Annotated[MaskRLE, Tag("rle")],
    Discriminator(lambda value: "picture" if isinstance(value, str) else "rle"),
    Field(description="A handle, data: or https URL of a picture that is white inside, or a COCO run-length code."),
]


class PointsPart(BaseModel):
    """Points in the current picture. A label is 1 for a point on the object, 0 for one beside it; all 1 by default."""

    type: Literal["points"]
    points: list[Point] = Field(min_length=1, max_length=MARKS_MAX)
    labels: list[Literal[0, 1]] | None = None

    @model_validator(mode="after")
    def _paired(self) -> PointsPart:
        if self.labels is not None and len(self.labels) != len(self.points):
            raise ValueError("give one label for each point")
        return self


class BoxesPart(BaseModel):
    """Boxes in the current picture."""

    type: Literal["boxes"]
    boxes: list[Box] = Field(min_length=1, max_length=MARKS_MAX)


class MaskPart(BaseModel):
    """A mask drawn over the current picture."""

    type: Literal["mask"]
    mask: MaskGiven


class ReferencePart(BaseModel):
    """A reference picture (a handle, data: or https URL) with a mask over what is meant in it."""

    type: Literal["reference"]
    image: str
    mask: MaskGiven


VisualPart = PointsPart | BoxesPart | MaskPart | ReferencePart


def marks_of(parts: list[VisualPart]) -> Marks:
    points, labels, boxes = list[Point](), list[Literal[0, 1]](), list[Box]()
    for part in parts:
        if isinstance(part, PointsPart):
            points += part.points
            labels += part.labels or [1] * len(part.points)
        elif isinstance(part, BoxesPart):
            boxes += part.boxes
    return Marks(points=points, point_labels=labels, boxes=boxes)


async def symbols_of(numbered: list[tuple[str, VisualPart]], parts: GatewayParts, *, owner: str) -> dict[Symbol, str]:
    """Handles of the drawn masks and reference pictures; of several of a kind the last counts.

    Args:
        numbered: parts with where they stand in the request.

    Raises:
        BadImage, ImageNotFound, InvalidRequest, FetchError: see `gateway.api.pictures`.
    """
    found: dict[Symbol, str] = {}

    async def stored(given: str | MaskRLE, param: str) -> str:
        return await handle_of(given, parts, owner=owner, param=param)

    for where, part in numbered:
        if isinstance(part, MaskPart):
            found[Symbol.MASK] = await stored(part.mask, f"{where}.mask")
        elif isinstance(part, ReferencePart):
            found[Symbol.REFERENCE_IMAGE] = await stored(part.image, f"{where}.image")
            found[Symbol.REFERENCE_MASK] = await stored(part.mask, f"{where}.mask")
    return found
