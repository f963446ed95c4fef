from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deploy.cli.picture_files import file_name, save_masks, write_all
from deploy.cli.results import clean
from deploy.cli.terminal_pictures import Form, cells, detect, half_blocks, iterm2, kitty, show, sixel
from deploy.errors import UsageError
from llava_plus import MaskRLE
from services.core.types import MaskRLE as ServedMask

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 130, 3), dtype=np.uint8))
XTERM = {"TERM": "xterm-256color"}


def console(*, terminal: bool = True, colours: str = "truecolor") -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, color_system=colours, width=80)  # type: ignore[arg-type]


def silent() -> str:
    return ""


@pytest.mark.parametrize(
    ("environment", "answer", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "", Form.KITTY),
        (XTERM | {"KITTY_WINDOW_ID": "1"}, "", Form.KITTY),
        (XTERM | {"TERM_PROGRAM": "ghostty"}, "", Form.KITTY),
        (XTERM | {"TERM_PROGRAM": "iTerm.app"}, "", Form.ITERM2),
        (XTERM | {"TERM_PROGRAM": "WezTerm"}, "", Form.ITERM2),
        (XTERM | {"LC_TERMINAL": "iTerm2"}, "", Form.ITERM2),
        (XTERM, "\x1b[?62;4;22c", Form.SIXEL),
        (XTERM, "\x1b[?64;22c", Form.BLOCKS),
        (XTERM, "", Form.BLOCKS),
        (XTERM | {"TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"}, "\x1b[?62;4c", Form.BLOCKS),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, "", Form.BLOCKS),
        ({"TERM": "dumb"}, "", Form.NONE),
        ({}, "", Form.NONE),
        (XTERM | {"LLAVA_PLUS_PICTURES": "none"}, "", Form.NONE),
        (XTERM | {"LLAVA_PLUS_PICTURES": "sixel"}, "", Form.SIXEL),
    ],
)
def test_the_terminal_is_known_by_what_it_says_of_itself(
    environment: dict[str, str], answer: str, expected: Form
) -> None:
    assert detect(console(), environment, lambda: answer) is expected


def test_a_file_or_a_terminal_of_few_colours_shows_no_picture() -> None:
    assert detect(console(terminal=False), {"TERM": "xterm-kitty"}, silent) is Form.NONE
    assert detect(console(colours="standard"), XTERM, silent) is Form.NONE


def test_a_picture_keeps_its_shape_and_its_bounds() -> None:
    assert cells((720, 360), 200) == (72, 18)
    assert cells((4000, 100), 40) == (40, 1)
    assert cells((100, 4000), 200)[1] == 28
    assert cells((30, 40), 80) == (3, 2), "small pictures are not enlarged"
    assert cells((1, 1), 80) == (1, 1)
    assert cells((256, 256), 80, (1, 2)) == (56, 28)


def test_kittys_pieces_are_the_picture() -> None:
    written = kitty(NOISE, 13, 5)
    pieces = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", written)
    assert "".join(f"\x1b_G{head};{data}\x1b\\" for head, data in pieces) == written
    assert len(pieces) > 1
    assert pieces[0][0] == "a=T,f=100,q=2,c=13,r=5,m=1"
    assert [head for head, _ in pieces[1:]] == ["m=1"] * (len(pieces) - 2) + ["m=0"]
    assert all(len(data) <= 4096 for _, data in pieces)
    shown = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces))))
    assert np.array_equal(np.asarray(shown), np.asarray(NOISE))


def test_iterm2_gets_the_picture_and_its_size_in_cells() -> None:
    head, data = iterm2(NOISE, 13, 5).removesuffix("\x07").split(":")
    assert head == "\x1b]1337;File=inline=1;width=13;height=5;preserveAspectRatio=1"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == NOISE.size


def decoded_sixel(text: str) -> np.ndarray:
    """What a terminal makes of the sixels, as [height, width, 3] percent."""
    assert text.startswith("\x1bPq")
    assert text.endswith("\x1b\\")
    width, height = map(int, re.findall(r'"1;1;(\d+);(\d+)', text)[0])
    pixels = np.full((height, width, 3), -1)
    palette: dict[int, list[int]] = {}
    column, top, colour = 0, 0, 0
    for number, rgb, count, sign in re.findall(r"#(\d+)(?:;2;(\d+;\d+;\d+))?|(?:!(\d+))?([?-~$-])", text[3:-2]):
        if number:
            colour = int(number)
            if rgb:
                palette[colour] = [int(part) for part in rgb.split(";")]
        elif sign in "$-":
            column, top = 0, top + (6 if sign == "-" else 0)
        else:
            rows = [top + bit for bit in range(6) if (ord(sign) - 63) >> bit & 1]
            end = column + int(count or 1)
            pixels[rows, column:end] = palette[colour] if rows else -1
            column = end
    return pixels


def test_sixels_paint_every_pixel_in_its_colour() -> None:
    picture = Image.new("RGB", (37, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (10, 3, 30, 17))
    painted = decoded_sixel(sixel(picture, 4, 1))
    assert painted.shape == (20, 37, 3)
    assert np.array_equal(painted, np.asarray(picture).astype(int) * 100 // 255)
    assert (decoded_sixel(sixel(NOISE, 13, 5)) >= 0).all()


def test_half_blocks_are_two_pixels_each() -> None:
    picture = Image.new("RGB", (1, 2), (255, 0, 0))
    picture.putpixel((0, 1), (0, 0, 255))
    to = console()
    to.print(half_blocks(picture, 1, 1))
    assert to.file.getvalue() == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_pictures_of_every_kind_are_shown(form: Form, mode: str) -> None:
    to = console()
    show(Image.new(mode, (50, 30)), form, to)
    assert bool(to.file.getvalue()) is (form is not Form.NONE)  # type: ignore[attr-defined]


def test_text_from_a_picture_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[31mb\x07\x9bc\r\n\td\N{PIG FACE}") == "a[31mbc\n\td\N{PIG FACE}"


def png(size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", size).save(buffer, "PNG")
    return buffer.getvalue()


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def test_files_are_named_by_handle_or_as_asked(tmp_path: Path) -> None:
    folder = tmp_path
    name = file_name("img_" + "ab" * 20, png())
    assert name == "llava-plus-abababab.png"
    assert write_all([(name, png())], folder / "new") == [folder / "new" / name]
    (jpeg,) = write_all([(name, png())], folder / "x.jpg")
    assert opened(jpeg).format == "JPEG"
    with pytest.raises(UsageError, match="name a folder"):
        write_all([("a.png", png()), ("b.png", png())], folder / "x.png")
    with pytest.raises(UsageError, match="Not a directory"):
        write_all([(name, png())], jpeg / "below")
    with pytest.raises(UsageError, match=r"cannot be written as \.hdf"):
        write_all([(name, png())], folder / "x.hdf")
    assert not (folder / "x.hdf").exists()


def test_masks_are_written_white_inside(tmp_path: Path) -> None:
    served = ServedMask.from_array(np.eye(5, dtype=bool))
    (path,) = save_masks([MaskRLE(size=served.size, counts=served.counts)], tmp_path)
    assert np.array_equal(np.asarray(opened(path).convert("L")), np.eye(5) * 255)
