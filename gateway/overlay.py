"""Boxes, masks and maps of skill calls drawn over a picture, and small versions of pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import TypeAdapter, ValidationError

from gateway.errors import NothingToDraw
from gateway.ports import ImageStore
from gateway.state.models import Session
from services.core.errors import ImageNotFound
from services.core.images import decode
from services.core.masks import BadMaskCode
from services.core.types import Box, MaskRLE

COLOURS = ((230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230))
MASK_OPACITY = 0.45
MAP_OPACITY = 0.55
DRAWN_FIELDS = frozenset({"boxes", "masks_rle", "mask_rle", "image_seg"})
"""Result fields that are drawn, whichever skill's they are."""
LABEL_CHARS = 40
LABEL_PX_MIN = 10
_BOXES, _MASKS = TypeAdapter(list[Box]), TypeAdapter(list[MaskRLE])


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn: boxes (xyxy, normalised) with their labels, masks, and the handle of a map."""

    boxes: Sequence[tuple[float, float, float, float]] = ()
    labels: Sequence[str] = ()
    masks: Sequence[MaskRLE] = field(default_factory=list)
    image_seg: str | None = None

    @property
    def empty(self) -> bool:
        return not (self.boxes or self.masks or self.image_seg)


def drawings_of(session: Session, image: str, call: str | None) -> list[Drawing]:
    """What the calls on a picture found in the last turn that found something; or what one call found.

    Raises:
        NothingToDraw: no call on the picture gave boxes, masks or a map.
    """
    for turn in reversed(session.turns):
        records = [record for step in turn.steps for record in step.results]
        on_it = [record for record in records if (record.get("images") or {}).get("image") == image]
        chosen = [record for record in on_it if call is None or record.get("id") == call]
        drawings = [drawing_of(record.get("result") or {}) for record in chosen]
        found = [drawing for drawing in drawings if drawing is not None and not drawing.empty]
        if found:
            return found
    raise NothingToDraw("No call of this session found boxes, masks or a map in this picture.", param="session_id")


def drawing_of(result: Mapping[str, Any]) -> Drawing | None:
    """What there is to draw of a skill's result: empty where it found nothing, None where it has no such fields."""
    if DRAWN_FIELDS.isdisjoint(result):
        return None
    single = [mask] if (mask := result.get("mask_rle")) else []
    try:
        boxes = _BOXES.validate_python(result.get("boxes") or [])
        masks = _MASKS.validate_python(result.get("masks_rle") or single)
    except ValidationError:
        return None
    named: list[Any] = next(
        (result[name] for name in ("phrases", "texts", "labels") if isinstance(result.get(name), list)), []
    )
    return Drawing(boxes, [str(name)[:LABEL_CHARS] for name in named], masks, result.get("image_seg"))


async def maps_of(drawings: Iterable[Drawing], images: ImageStore, *, owner: str) -> dict[str, bytes]:
    """The maps that are to be drawn, by handle; one that is gone is left out."""
    found: dict[str, bytes] = {}
    for drawing in drawings:
        if drawing.image_seg is not None:
            with suppress(ImageNotFound):
                found[drawing.image_seg] = (await images.get(drawing.image_seg, owner=owner)).data
    return found


def overlay_png(
    data: bytes, drawings: Iterable[Drawing], maps: Mapping[str, bytes], *, side_max: int | None = None
) -> bytes:
    """The picture as PNG with everything drawn on it. Blocking.

    Args:
        maps: encoded maps by handle: one colour for each class, black where there is none.
        side_max: make a larger picture smaller first, so that its longer side has as many pixels.
    """
    picture = decode(data)
    if side_max is not None:
        picture.thumbnail((side_max, side_max))
    number = 0
    for drawing in drawings:
        if drawing.image_seg is not None and drawing.image_seg in maps:
            picture = _mixed(picture, decode(maps[drawing.image_seg]))
        for index in range(max(len(drawing.boxes), len(drawing.masks))):
            colour = COLOURS[number % len(COLOURS)]
            number += 1
            if index < len(drawing.masks):
                picture = _tinted(picture, drawing.masks[index], colour)
            if index < len(drawing.boxes):
                label = drawing.labels[index] if index < len(drawing.labels) else ""
                _outline(picture, drawing.boxes[index], colour, label)
    return _encoded(picture, "PNG")


def thumbnail_jpeg(data: bytes, side: int) -> bytes:
    """The picture as JPEG with its longer side at most `side` pixels. Blocking."""
    picture = decode(data)
    picture.thumbnail((side, side))
    return _encoded(picture, "JPEG")


def _tinted(picture: Image.Image, mask: MaskRLE, colour: tuple[int, int, int]) -> Image.Image:
    try:
        inside = mask.to_array()
    except BadMaskCode:
        return picture
    stencil = Image.fromarray((inside * round(255 * MASK_OPACITY)).astype(np.uint8))
    stencil = stencil.resize(picture.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", picture.size, colour), picture, stencil)


def _mixed(picture: Image.Image, segmentation: Image.Image) -> Image.Image:
    colours = segmentation.resize(picture.size, Image.Resampling.NEAREST)
    known = np.asarray(colours).any(axis=2)
    stencil = Image.fromarray((known * round(255 * MAP_OPACITY)).astype(np.uint8))
    return Image.composite(colours, picture, stencil)


def _outline(
    picture: Image.Image, box: tuple[float, float, float, float], colour: tuple[int, int, int], label: str
) -> None:
    draw = ImageDraw.Draw(picture)
    width, height = picture.width - 1, picture.height - 1
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    line = max(2, round(max(picture.size) / 300))
    # On a background of its own colour a line is seen by its light edges.
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="white", width=line + 2)
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=line)
    if label:
        # Pillow's built-in font knows Latin letters only.
        text = label.encode("ascii", "replace").decode()
        font = ImageFont.load_default(max(LABEL_PX_MIN, round(max(picture.size) / 50)))
        left, top, right, bottom = draw.textbbox((x0 + 2, y0 + 1), text, font=font)
        draw.rectangle((left - 2, top - 1, right + 2, bottom + 1), fill=colour)
        draw.text((x0 + 2, y0 + 1), text, fill="white", font=font)


def _encoded(picture: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format)
    return buffer.getvalue()
