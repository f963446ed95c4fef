"""Pictures as MCP has them: resources with the address image://img_..., and images inside a tool's result."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import Any

import mcp_types as types

from gateway.parts import ANONYMOUS, GatewayParts
from gateway.ports import StoredImage
from services.core.errors import ImageNotFound

SCHEME = "image://"
TEMPLATE = types.ResourceTemplate(
    uri_template=SCHEME + "{handle}",
    name="picture",
    title="A stored picture",
    description="The picture of a handle (img_...): uploaded, sent with a question, or made by a tool.",
)
_SESSIONS_LISTED = 20


def handle_of(reference: Any) -> Any:
    """A picture's resource address as the handle that tools take; anything else as it is."""
    return reference.removeprefix(SCHEME) if isinstance(reference, str) else reference


async def listed(parts: GatewayParts) -> list[types.Resource]:
    """The pictures of the conversations that were used last."""
    found: dict[str, types.Resource] = {}
    for one in await parts.sessions.page(owner=ANONYMOUS, limit=_SESSIONS_LISTED):
        session = one.session
        asked = session.turns[0].question[:60] if session.turns else session.id
        for picture in reversed(session.pictures):
            title = picture.name or f"Picture {picture.number} of “{asked}”"
            uri = SCHEME + picture.handle
            found.setdefault(uri, types.Resource(uri=uri, name=picture.handle, title=title))
    return list(found.values())


async def contents(uri: str, parts: GatewayParts) -> types.BlobResourceContents:
    """A picture's bytes.

    Raises:
        ImageNotFound: that is not the address of a stored picture.
    """
    if not uri.startswith(SCHEME):
        raise ImageNotFound(f"Pictures have addresses like {SCHEME}img_...; {uri[:80]!r} is none.")
    stored = await parts.images.get(handle_of(uri), owner=ANONYMOUS)
    return types.BlobResourceContents(uri=uri, mime_type=stored.info.media_type, blob=await _base64(stored))


async def shown(handles: Iterable[str], parts: GatewayParts) -> list[types.ContentBlock]:
    """For each picture a link, and the picture itself where it is not over `mcp_image_bytes_max`."""
    blocks: list[types.ContentBlock] = []
    for handle in dict.fromkeys(handles):
        stored = await parts.images.get(handle, owner=ANONYMOUS)
        media_type, size = stored.info.media_type, stored.info.size
        if stored.info.bytes <= parts.settings.mcp_image_bytes_max:
            blocks.append(types.ImageContent(data=await _base64(stored), mime_type=media_type))
        blocks.append(
            types.ResourceLink(
                uri=SCHEME + handle,
                name=handle,
                description=f"{size.width} x {size.height} pixels; other tools take the handle {handle}.",
                mime_type=media_type,
                size=stored.info.bytes,
            )
        )
    return blocks


async def _base64(stored: StoredImage) -> str:
    return (await asyncio.to_thread(base64.b64encode, stored.data)).decode()
