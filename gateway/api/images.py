"""Pictures: upload one, get it back as it is, small, or with what was found in it."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.api.pictures import picture
from gateway.disconnect import cancelled_when_client_leaves
from gateway.errors import InvalidRequest
from gateway.overlay import drawings_of, maps_of, overlay_png, thumbnail_jpeg
from gateway.parts import ANONYMOUS, GatewayParts, parts_of
from gateway.ports import StoredImage
from gateway.responses import FastJson
from gateway.state.models import ImageInfo
from services.core.types import ImageRef

router = APIRouter(tags=["images"])


class UploadedImage(BaseModel):
    """A stored picture. Times are seconds since the epoch; every use of the picture renews `expires`."""

    id: ImageRef
    object: str = Field("image", description="Always `image`.")
    width: int
    height: int
    media_type: str
    bytes: int
    created: float
    expires: float


class ImageDetails(UploadedImage):
    """With whose it is, how long it lives without being used, and the call that made it (null for uploads)."""

    owner: str
    ttl_s: float
    lineage: dict[str, Any] | None


@router.post("/v1/images", status_code=201, response_model=UploadedImage)
async def upload_image(
    request: Request,
    file: Annotated[UploadFile | None, File(description="The picture.")] = None,
    url: Annotated[str | None, Form(description="Or where it is: an https or data: URL.")] = None,
) -> Response:
    """Store a picture (PNG, JPEG, WebP; of GIF, BMP and TIFF the first frame as PNG) and get its handle."""
    parts = parts_of(request)
    if (file is None) == (url is None):
        raise InvalidRequest("Send either the field file, with the picture, or the field url.", param="file")
    if url is not None:
        async with cancelled_when_client_leaves(request.receive):
            info = await picture(url, parts, owner=ANONYMOUS, param="url")
    elif file is not None:
        info = await parts.images.put(await file.read(parts.settings.image_bytes_max + 1), owner=ANONYMOUS)
    return FastJson(_public(info), status_code=201)


@router.get("/v1/images/{image_id}", response_class=Response, responses={200: {"content": {"image/*": {}}}})
async def get_image(
    image_id: str,
    request: Request,
    variant: Annotated[
        Literal["original", "thumbnail", "overlay"],
        Query(
            description="overlay draws the boxes, masks and maps that calls of the session `session_id` found in it."
        ),
    ] = "original",
    session_id: Annotated[str | None, Query(description="For `overlay`: where the calls were made.")] = None,
    call: Annotated[
        str | None, Query(description="For `overlay`: one call's id; else all on this picture in the last such turn.")
    ] = None,
) -> Response:
    """The picture's bytes."""
    parts = parts_of(request)
    stored = await parts.images.get(image_id, owner=ANONYMOUS)
    if variant == "overlay":
        data, media_type = await _overlay(parts, stored, session_id, call), "image/png"
    elif variant == "thumbnail":
        data = await asyncio.to_thread(thumbnail_jpeg, stored.data, parts.settings.thumbnail_side_px)
        media_type = "image/jpeg"
    else:
        data, media_type = stored.data, stored.info.media_type
    headers = {
        "Cache-Control": "private, no-cache" if variant == "overlay" else "private, max-age=3600, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(data, media_type=media_type, headers=headers)


@router.get("/v1/images/{image_id}/info", response_model=ImageDetails)
async def get_image_info(image_id: str, request: Request) -> Response:
    """What is known about a picture: size, owner, time to live, and its lineage."""
    info = await parts_of(request).images.info(image_id, owner=ANONYMOUS)
    ttl_s = max(0.0, info.expires - time.time())
    return FastJson(_public(info) | {"owner": info.owner, "ttl_s": ttl_s, "lineage": info.lineage})


async def _overlay(parts: GatewayParts, stored: StoredImage, session_id: str | None, call: str | None) -> bytes:
    if not session_id:
        raise InvalidRequest("session_id: name the session whose calls are drawn.", param="session_id")
    session = await parts.sessions.get(session_id, owner=ANONYMOUS)
    drawings = drawings_of(session, stored.info.id, call)
    maps = await maps_of(drawings, parts.images, owner=ANONYMOUS)
    return await asyncio.to_thread(overlay_png, stored.data, drawings, maps, side_max=parts.settings.overlay_side_px)


def _public(info: ImageInfo) -> dict[str, object]:
    return {
        "id": info.id,
        "object": "image",
        "width": info.size.width,
        "height": info.size.height,
        "media_type": info.media_type,
        "bytes": info.bytes,
        "created": info.created,
        "expires": info.expires,
    }
