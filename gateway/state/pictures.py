"""Checks an uploaded picture: what it is, how large, and that every pixel can be read."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field

from PIL import Image

from gateway.errors import BadImage
from services.core.images import decode
from services.core.types import ImageSize

KEPT = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp"}
"""Formats kept as they came. Phones write MPO: a JPEG with more pictures after the first."""
CONVERTED = ("GIF", "BMP", "TIFF")
"""Formats whose first frame is kept as PNG."""

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on hostile or damaged bytes."""


@dataclass(frozen=True, slots=True)
class VerifiedPicture:
    """Bytes to keep, known to decode. `size` is in pixels after EXIF rotation."""

    data: bytes = field(repr=False)
    media_type: str
    size: ImageSize


def verify(data: bytes, *, bytes_max: int, pixels_max: int) -> VerifiedPicture:
    """Check `data` by decoding all of it; the header's size is checked before any pixel is.

    Blocking: takes up to a second for the largest pictures allowed.

    Raises:
        BadImage: not a picture, a format that is not taken, damaged, or over the limits.
    """
    if not data:
        raise BadImage("The picture is empty (0 bytes).")
    if len(data) > bytes_max:
        raise BadImage(f"The picture has {len(data)} bytes; at most {bytes_max} are taken.")
    image_format = _checked_format(data, pixels_max)
    try:
        picture = decode(data)
        if image_format not in KEPT:
            data = _as_png(picture)
    except _DAMAGE as error:
        raise BadImage("The picture is damaged or cut short: its pixels cannot be read.") from error
    if len(data) > bytes_max:
        raise BadImage(f"The picture is kept as PNG and then has {len(data)} bytes; at most {bytes_max} are taken.")
    width, height = picture.size
    return VerifiedPicture(data, KEPT.get(image_format, "image/png"), ImageSize(width=width, height=height))


def _checked_format(data: bytes, pixels_max: int) -> str:
    too_large = f"at most {pixels_max} pixels (width times height) are taken."
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", *CONVERTED)) as header:
            (width, height), image_format = header.size, header.format or ""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"The picture is too large: {too_large}") from error
    except _DAMAGE as error:
        known = ", ".join([*(name for name in KEPT if name != "MPO"), *CONVERTED])
        raise BadImage(f"These bytes are not a picture in a format that is taken ({known}).") from error
    if width < 1 or height < 1:
        raise BadImage("The picture has no pixels.")
    if width * height > pixels_max:
        raise BadImage(f"The picture has {width} x {height} pixels; {too_large}")
    return image_format


def _as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
