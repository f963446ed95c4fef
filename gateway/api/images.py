"""Pictures: upload one, get it back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.parts import ANONYMOUS, parts_of
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


@router.post("/v1/images", status_code=201, response_model=UploadedImage)
async def upload_image(file: Annotated[UploadFile, File(description="The picture.")], request: Request) -> Response:
    """Store a picture (PNG, JPEG, WebP; of GIF, BMP and TIFF the first frame as PNG) and get its handle."""
    parts = parts_of(request)
    data = await file.read(parts.settings.image_bytes_max + 1)
    return FastJson(_public(await parts.images.put(data, owner=ANONYMOUS)), status_code=201)


@router.get("/v1/images/{image_id}", response_class=Response, responses={200: {"content": {"image/*": {}}}})
async def get_image(image_id: str, request: Request) -> Response:
    """The picture's bytes."""
    stored = await parts_of(request).images.get(image_id, owner=ANONYMOUS)
    headers = {
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(stored.data, media_type=stored.info.media_type, headers=headers)


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
