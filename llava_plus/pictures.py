"""Pictures as people have them, brought to what the API takes: a handle, or an address."""

from __future__ import annotations

import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from PIL import Image, ImageOps

from llava_plus.answers import model_of
from llava_plus.errors import PictureError
from llava_plus.flow import Flow, Send, Work
from llava_plus.models import ImageInfo, MaskRLE
from llava_plus.retries import Retries, answered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PictureLike: TypeAlias = "str | PathLike[str] | bytes | Image.Image | ImageInfo"
"""A handle (`img_...`), an https: or data: URL, a path, a file's bytes, a PIL picture, or an uploaded picture."""
MaskLike: TypeAlias = "PictureLike | MaskRLE | Mapping[str, Any] | NDArray[np.bool_]"
"""A picture that is white inside, a run-length code as tools give it, or a boolean array of [height, width]."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_ALREADY_THERE = ("img_", "data:", "http:", "https:")


class Named(NamedTuple):
    """A picture with a name, by which later questions may call it."""

    picture: PictureLike
    name: str


class Reference(NamedTuple):
    """A picture with a mask over what is meant in it."""

    picture: PictureLike
    mask: MaskLike


def picture_reference(picture: PictureLike, retries: Retries) -> Flow[str]:
    """What stands for the picture in a request; a picture that the server has not is uploaded.

    Raises:
        PictureError: it cannot be read.
    """
    if isinstance(picture, ImageInfo):
        return picture.id
    if isinstance(picture, str) and picture.startswith(_ALREADY_THERE):
        return picture
    return (yield from upload(picture, retries)).id


def mask_reference(mask: MaskLike, retries: Retries) -> Flow[str | dict[str, Any]]:
    """What stands for the mask in a request: a run-length code stays one.

    Raises:
        PictureError: it cannot be read.
    """
    if isinstance(mask, MaskRLE):
        return mask.model_dump(mode="json")
    if isinstance(mask, Mapping):
        return dict(mask)
    if isinstance(mask, str | PathLike | bytes | Image.Image | ImageInfo):
        return (yield from picture_reference(mask, retries))
    drawn: Image.Image = yield Work(lambda: _white_inside(mask))
    return (yield from picture_reference(drawn, retries))


def upload(picture: PictureLike, retries: Retries) -> Flow[ImageInfo]:
    """Store a picture.

    Raises:
        PictureError: it cannot be read.
    """
    data: bytes = yield Work(lambda: _file_bytes(picture))
    # The handle is a hash of the bytes: a second upload changes nothing.
    send = Send("POST", "/v1/images", files={"file": ("picture", data)}, repeatable=True)
    response = yield from answered(send, retries)
    return model_of(response, ImageInfo)


def _file_bytes(picture: PictureLike) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        buffer = io.BytesIO()
        # PNG would lose the camera's note of which side is up.
        upright = ImageOps.exif_transpose(picture)
        plain = upright if upright.mode in _PNG_MODES else upright.convert("RGB")
        plain.save(buffer, "PNG")
        return buffer.getvalue()
    if isinstance(picture, ImageInfo):
        raise PictureError(f"{picture.id} is uploaded already.")
    try:
        return Path(picture).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"{str(picture)[:200]}: {reason}. Give a path, a handle (img_...) or a URL.") from None


def _white_inside(mask: NDArray[np.bool_]) -> Image.Image:
    import numpy as np

    inside = np.asarray(mask)
    if inside.ndim != 2:
        raise PictureError(f"A mask is an array of [height, width], not of {list(inside.shape)}.")
    return Image.fromarray((inside != 0).astype(np.uint8) * 255)
