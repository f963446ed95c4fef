"""What a tool found, drawn over the picture that it worked on."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.api.answer_pictures import described
from gateway.api.tool_calls import ToolAnswer
from gateway.errors import NothingToDraw
from gateway.overlay import drawing_of, maps_of, overlay_png
from gateway.parts import GatewayParts
from services.core.spec import Symbol


async def overlay_of(answer: ToolAnswer, parts: GatewayParts, *, owner: str) -> bytes:
    """The picture as PNG with the result's boxes, masks and map; plain where it has none.

    Raises:
        NothingToDraw: the tool works on no picture, or its results never have any of these.
    """
    handle, drawing = answer.images.get(Symbol.IMAGE), drawing_of(answer.outcome.result)
    if handle is None or drawing is None:
        raise NothingToDraw(
            f"The results of {answer.outcome.skill} have no boxes, masks or map to draw.", param="render"
        )
    stored = await parts.images.get(handle, owner=owner)
    maps = await maps_of([drawing], parts.images, owner=owner)
    return await asyncio.to_thread(overlay_png, stored.data, [drawing], maps, side_max=parts.settings.overlay_side_px)


async def stored_overlay(answer: ToolAnswer, parts: GatewayParts, *, owner: str) -> dict[str, Any] | None:
    """The same as a stored `AnswerPicture`; None where there is nothing to draw."""
    try:
        data = await overlay_of(answer, parts, owner=owner)
    except NothingToDraw:
        return None
    images = {str(symbol): handle for symbol, handle in answer.images.items()}
    lineage = {"skill": answer.outcome.skill, "checkpoint": answer.outcome.checkpoint, "images": images}
    info = await parts.images.put(data, owner=owner, lineage=lineage | {"render": "overlay"})
    return (await described([info.id], parts, owner=owner))[0]
