"""Pictures in gRPC's messages: sent bytes are stored, everything else is passed on as HTTP clients write it."""

from __future__ import annotations

from gateway.errors import BadImage, InvalidRequest
from gateway.parts import GatewayParts
from llava_plus.v1 import platform_pb2 as pb
from services.core.types import MaskRLE


async def reference(picture: pb.Picture, parts: GatewayParts, *, owner: str, param: str) -> str | MaskRLE:
    """A handle, a URL or a run-length code.

    Raises:
        BadImage: the bytes are no picture.
        InvalidRequest: the picture is empty.
    """
    source = picture.WhichOneof("source")
    if source == "id":
        return picture.id
    if source == "url":
        return picture.url
    if source == "mask":
        return MaskRLE(size=(picture.mask.height, picture.mask.width), counts=picture.mask.counts)
    if source is None:
        raise InvalidRequest(f"{param}: the picture is empty: set id, data, url or mask.", param=param)
    try:
        return (await parts.images.put(picture.data, owner=owner)).id
    except BadImage as error:
        raise BadImage(error.message, param=param) from error


async def shown(picture: pb.Picture, parts: GatewayParts, *, owner: str, param: str) -> str:
    """Like `reference` where a mask's code is not taken."""
    given = await reference(picture, parts, owner=owner, param=param)
    if isinstance(given, MaskRLE):
        raise InvalidRequest(f"{param}: a picture is wanted here, not a mask's code.", param=param)
    return given
