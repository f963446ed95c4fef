"""Pictures at the edge: handles are looked up, data: URLs stored, https URLs fetched; everything else is refused."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence

from gateway.errors import BadImage, FetchError, InvalidRequest
from gateway.masks import mask_png
from gateway.parts import GatewayParts
from gateway.state.models import ImageInfo
from services.core.masks import BadMaskCode
from services.core.types import MaskRLE

_DATA_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64", re.ASCII | re.IGNORECASE)
_HEAD_CHARS_MAX = 80


async def picture(reference: str, parts: GatewayParts, *, owner: str, param: str) -> ImageInfo:
    """The stored picture that a request means.

    Args:
        reference: a handle (`img_...`), a data: URL (base64), or an https URL.
        param: where in the request it stands, for error messages.

    Raises:
        ImageNotFound: an unknown handle.
        BadImage: the data: URL is not one, or what was sent or fetched is no picture.
        FetchError: nothing was fetched.
        InvalidRequest: any other reference.
    """
    if reference.startswith("img_"):
        return await parts.images.info(reference, owner=owner)
    scheme = reference[:8].lower()
    if not scheme.startswith(("data:", "http:", "https:")):
        raise InvalidRequest(
            "A picture is given as a handle (img_...) from /v1/images, as a data: URL (data:image/png;base64,...) or "
            "as an https URL.",
            param=param,
        )
    try:
        data = await (_decoded if scheme.startswith("data:") else _fetched)(reference, parts, param)
        return await parts.images.put(data, owner=owner)
    except BadImage as error:
        raise BadImage(error.message, param=param) from error


async def pictures(references: Sequence[tuple[str, str]], parts: GatewayParts, *, owner: str) -> list[ImageInfo]:
    """Several at the same time, in their order; the first that cannot be had stops the others.

    Args:
        references: each with its `param`.

    Raises:
        See `picture`.
    """
    tasks = [
        asyncio.create_task(picture(reference, parts, owner=owner, param=param)) for reference, param in references
    ]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def handle_of(given: str | MaskRLE, parts: GatewayParts, *, owner: str, param: str) -> str:
    """The handle of what was given for a picture, mask or map; raises what `picture` and `mask` raise."""
    if isinstance(given, MaskRLE):
        return (await mask(given, parts, owner=owner, param=param)).id
    return (await picture(given, parts, owner=owner, param=param)).id


async def mask(code: MaskRLE, parts: GatewayParts, *, owner: str, param: str) -> ImageInfo:
    """The stored picture, white inside, of a run-length code.

    Raises:
        InvalidRequest: the code is damaged, or the mask has more pixels than a picture may have.
    """
    height, width = code.size
    pixels_max = parts.settings.image_pixels_max
    if height * width > pixels_max:
        raise InvalidRequest(
            f"{param}: a mask of {height} x {width} pixels is too large; at most {pixels_max} pixels are taken.",
            param=f"{param}.size",
        )
    try:
        data = await asyncio.to_thread(mask_png, code)
    except BadMaskCode as error:
        raise InvalidRequest(f"{param}: this is not the code of a mask: {error}.", param=f"{param}.counts") from error
    return await parts.images.put(data, owner=owner)


async def _fetched(url: str, parts: GatewayParts, param: str) -> bytes:
    if parts.fetcher is None:
        raise InvalidRequest(
            "Pictures are not fetched from the web here: upload the file to /v1/images and give its handle, or send it "
            "as a data: URL.",
            param=param,
        )
    try:
        return await parts.fetcher.fetch(url)
    except FetchError as error:
        raise type(error)(error.reason, param=param) from error


async def _decoded(url: str, _: GatewayParts, param: str) -> bytes:
    comma = url.find(",", 0, _HEAD_CHARS_MAX)
    if comma < 0 or not _DATA_HEAD.fullmatch(url, 0, comma):
        raise BadImage("A picture's data: URL reads data:image/<type>;base64,<data>.", param=param)
    try:
        return await asyncio.to_thread(_strict_base64, url[comma + 1 :])
    except (binascii.Error, ValueError) as error:
        raise BadImage("The data: URL's base64 is not valid.", param=param) from error


def _strict_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
