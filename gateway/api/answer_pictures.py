"""The pictures of an answer: handles with what a client needs to show them, and their bytes on request."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from gateway.parts import GatewayParts
from services.core.errors import ImageNotFound
from services.core.types import ImageRef


class AnswerPicture(BaseModel):
    """A picture that a skill made for the answer. Size in pixels."""

    id: ImageRef
    url: str = Field(
        description="Where its bytes are; a path unless the deployment says under which URL it is reached."
    )
    media_type: str
    width: int
    height: int
    data_url: str | None = Field(None, description="The bytes themselves, where `inline_images` asked for them.")


async def described(handles: Iterable[str], parts: GatewayParts, *, owner: str) -> list[dict[str, Any]]:
    """An `AnswerPicture` for each handle, without bytes; a picture that is gone is left out."""
    found = []
    for handle in handles:
        try:
            info = await parts.images.info(handle, owner=owner)
        except ImageNotFound:
            continue
        found.append(
            {
                "id": info.id,
                "url": f"{(parts.settings.public_url or '').rstrip('/')}/v1/images/{info.id}",
                "media_type": info.media_type,
                "width": info.size.width,
                "height": info.size.height,
            }
        )
    return found


async def inlined(choices: Iterable[dict[str, Any]], parts: GatewayParts, *, owner: str) -> list[dict[str, Any]]:
    """The choices with the bytes of their pictures; of a picture that is gone meanwhile there are none."""
    return [
        choice | {"pictures": [await _with_bytes(picture, parts, owner) for picture in choice.get("pictures", ())]}
        for choice in choices
    ]


async def _with_bytes(picture: dict[str, Any], parts: GatewayParts, owner: str) -> dict[str, Any]:
    try:
        stored = await parts.images.get(picture["id"], owner=owner)
    except ImageNotFound:
        return picture | {"data_url": None}
    encoded = await asyncio.to_thread(base64.b64encode, stored.data)
    return picture | {"data_url": f"data:{stored.info.media_type};base64,{encoded.decode()}"}
