"""Pictures between the platform and this machine's files."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from deploy.errors import UsageError
from llava_plus import Client, MaskRLE

_SUFFIXES: Mapping[str, str] = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
NAME_DIGITS = 8


def given_picture(text: str) -> str | bytes:
    """A picture from a command line: `-` is standard input, everything else as the client takes it."""
    return sys.stdin.buffer.read() if text == "-" else text


def file_name(handle: str, data: bytes) -> str:
    """A name that says which picture it is."""
    return f"llava-plus-{handle.removeprefix('img_')[:NAME_DIGITS]}{suffix(data)}"


def suffix(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        return _SUFFIXES.get(picture.format or "", "")


def save_pictures(client: Client, handles: Sequence[str], target: Path | None) -> list[Path]:
    """Write stored pictures to files.

    Args:
        target: a file for one picture (made like its suffix says), a folder for any number; the current one when None.

    Raises:
        UsageError: several pictures and one file, or it cannot be written.
    """
    files = [(handle, client.image_bytes(handle)) for handle in handles]
    return write_all([(file_name(handle, data), data) for handle, data in files], target)


def save_masks(masks: Sequence[MaskRLE], target: Path) -> list[Path]:
    """Write masks as PNGs, white inside."""
    files: list[tuple[str, bytes]] = []
    for number, mask in enumerate(masks, 1):
        buffer = io.BytesIO()
        Image.fromarray(mask.to_array()).save(buffer, "PNG")
        files.append((f"mask-{number}.png", buffer.getvalue()))
    return write_all(files, target)


def write_all(files: Sequence[tuple[str, bytes]], target: Path | None) -> list[Path]:
    """Write files of these names into a folder, or one of them to a path.

    Raises:
        UsageError: several files and one path, or it cannot be written.
    """
    folder = target or Path()
    try:
        if target is not None and target.suffix and not target.is_dir():
            if len(files) > 1:
                raise UsageError(f"{target} is one file, and there are {len(files)} pictures: name a folder.")
            return [_write(target, data) for _, data in files]
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / name, data) for name, data in files]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}.") from None


def _write(path: Path, data: bytes) -> Path:
    """Bytes as they are, or in the format that the path's suffix asks for."""
    wanted = Image.registered_extensions().get(path.suffix.lower())
    with Image.open(io.BytesIO(data)) as picture:
        if wanted is None or wanted == picture.format:
            path.write_bytes(data)
            return path
        try:
            picture.convert("RGB").save(path, wanted)
        except (KeyError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise UsageError(f"{path}: a picture cannot be written as {path.suffix}; .png and .jpg can.") from None
    return path
