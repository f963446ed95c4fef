"""Pictures at the edge: handles are looked up, data: URLs are stored, everything else is refused."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re

from gateway.errors import BadImage, InvalidRequest
from gateway.masks import mask_png
from gateway.ports import ImageStore
from gateway.state.models import ImageInfo
from services.core.masks import BadMaskCode
from services.core.types import MaskRLE

_DATA_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64", re.ASCII | re.IGNORECASE)
_HEAD_CHARS_MAX = 80


async def picture(reference: str, images: ImageStore, *, owner: str, param: str) -> ImageInfo:
    """The stored picture that a request means.

    Args:
        reference: a handle (`img_...`) or a data: URL (base64).
        param: where in the request it stands, for error messages.

    Raises:
        ImageNotFound: an unknown handle.
        BadImage: the data: URL is not one, or holds no picture.
        InvalidRequest: any other reference, http(s) URLs among them.
    """
    if reference.startswith("img_"):
        return await images.info(reference, owner=owner)
    scheme = reference[:8].lower()
    if scheme.startswith("data:"):
        try:
            return await images.put(await _decoded(reference, param), owner=owner)
        except BadImage as error:
            raise BadImage(error.message, param=param) from error
    if scheme.startswith(("http:", "https:")):
        raise InvalidRequest(
            "Pictures are not fetched from the web: upload the file to /v1/images and give its handle, or send it as "
            "a data: URL.",
            param=param,
        )
    raise InvalidRequest(
        "A picture is given as a handle (img_...) from /v1/images, or as a data: URL (data:image/png;base64,...).",
        param=param,
    )


async def mask(code: MaskRLE, images: ImageStore, *, owner: str, param: str, pixels_max: int) -> ImageInfo:
    """The stored picture, white inside, of a run-length code.

    Raises:
        InvalidRequest: the code is damaged, or the mask is over `pixels_max`.
    """
    height, width = code.size
    if height * width > pixels_max:
        raise InvalidRequest(
            f"{param}: a mask of {height} x {width} pixels is too large; at most {pixels_max} pixels are taken.",
            param=f"{param}.size",
        )
    try:
        data = await asyncio.to_thread(mask_png, code)
    except BadMaskCode as error:
        raise InvalidRequest(f"{param}: this is not the code of a mask: {error}.", param=f"{param}.counts") from error
    return await images.put(data, owner=owner)


async def _decoded(url: str, param: str) -> bytes:
    comma = url.find(",", 0, _HEAD_CHARS_MAX)
    if comma < 0 or not _DATA_HEAD.fullmatch(url, 0, comma):
        raise BadImage("A picture's data: URL reads data:image/<type>;base64,<data>.", param=param)
    try:
        return await asyncio.to_thread(_strict_base64, url[comma + 1 :])
    except (binascii.Error, ValueError) as error:
        raise BadImage("The data: URL's base64 is not valid.", param=param) from error


def _strict_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
