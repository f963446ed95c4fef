from __future__ import annotations

import io

import pytest
from gateway_fakes import picture
from PIL import Image

from gateway.errors import BadImage
from gateway.state.pictures import VerifiedPicture, verify


def check(data: bytes, bytes_max: int = 10**6, pixels_max: int = 10**6) -> VerifiedPicture:
    return verify(data, bytes_max=bytes_max, pixels_max=pixels_max)


@pytest.mark.parametrize(
    ("image_format", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_common_formats_are_kept_as_they_came(image_format: str, media_type: str) -> None:
    data = picture(image_format)
    assert check(data).data == data
    assert check(data).media_type == media_type


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_kept_as_png(image_format: str) -> None:
    found = check(picture(image_format))
    assert found.media_type == "image/png"
    assert Image.open(io.BytesIO(found.data)).format == "PNG"
    assert found.data == check(picture(image_format)).data, "the same picture gives the same handle"


@pytest.mark.parametrize("image_format", ["GIF", "BMP", "TIFF"])
def test_a_picture_that_is_too_large_once_it_is_png_is_refused(image_format: str) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(buffer, image_format)
    data = buffer.getvalue()
    kept = len(check(data).data)
    assert len(data) < kept
    assert len(check(data, bytes_max=kept).data) == kept
    with pytest.raises(BadImage, match=f"kept as PNG and then has {kept} bytes; at most {kept - 1} are taken"):
        check(data, bytes_max=kept - 1)


def test_the_size_is_the_one_after_exif_rotation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 10)).save(buffer, "JPEG", exif=exif)
    size = check(buffer.getvalue()).size
    assert (size.width, size.height) == (10, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_png_mode_is_taken(mode: str) -> None:
    check(picture("PNG", mode=mode, color=0 if mode in ("1", "L", "P", "I;16") else None))


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_picture_cut_short_is_refused(image_format: str, kept: float) -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, image_format)
    data = buffer.getvalue()
    with pytest.raises(BadImage):
        check(data[: int(len(data) * kept)])


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage):
        check(data)


@pytest.mark.parametrize("size", [(10_000, 10_000), (20_000, 20_000)])
def test_too_many_pixels_are_refused_before_any_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture("PNG", size, mode="1", color=0)
    monkeypatch.setattr("gateway.state.pictures.decode", lambda _: pytest.fail("decoded"))
    with pytest.raises(BadImage, match="1000000 pixels"):
        check(data)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(BadImage, match="at most 10 are taken"):
        check(picture(), bytes_max=10)
