"""Pictures in a terminal: kitty's, iTerm2's and sixel graphics, or coloured half blocks where there is none of them."""

from __future__ import annotations

import base64
import io
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS_MAX = 72
ROWS_MAX = 28
CELL_PX = (10, 20)
"""Width and height of a character cell, about, in pixels."""
BLOCK_PX = (1, 2)
"""What half blocks show of a picture in a cell."""
ANSWER_WAIT_S = 0.2
KITTY_CHUNK_CHARS = 4096
SIXEL_COLOURS = 128


class Form(StrEnum):
    """How the terminal shows pictures; `NONE`: not at all."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    NONE = "none"


def detect(console: Console, environment: Mapping[str, str] = os.environ, ask: Callable[[], str] | None = None) -> Form:
    """How this terminal shows pictures; `LLAVA_PLUS_PICTURES` overrules it.

    Args:
        console: on standard output.
        ask: gives the terminal's own description of itself (primary device attributes), empty if it gives none.
    """
    chosen = environment.get("LLAVA_PLUS_PICTURES", "")
    if chosen in set(Form):
        return Form(chosen)
    if not console.is_terminal or environment.get("TERM", "dumb") == "dumb":
        return Form.NONE
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    # A multiplexer keeps graphics from the terminal around it.
    if not ("TMUX" in environment or term.startswith(("screen", "tmux"))):
        if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in (term + program).lower():
            return Form.KITTY
        if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
            return Form.ITERM2
        if "4" in (ask or device_attributes)().strip("\x1b[?c").split(";"):
            return Form.SIXEL
    return Form.BLOCKS if console.color_system not in (None, "standard") else Form.NONE


def show(picture: Image.Image, form: Form, console: Console) -> None:
    """Write the picture to the console's terminal, as wide as it may be; nothing for `NONE`."""
    if form is Form.NONE:
        return
    if form is Form.BLOCKS:
        console.print(half_blocks(picture, *cells(picture.size, console.width, BLOCK_PX)))
        return
    columns, rows = cells(picture.size, console.width)
    encode = {Form.KITTY: kitty, Form.ITERM2: iterm2, Form.SIXEL: sixel}[form]
    console.file.write(encode(picture.convert("RGB"), columns, rows) + "\n")
    console.file.flush()


def cells(size: tuple[int, int], console_columns: int, cell_px: tuple[int, int] = CELL_PX) -> tuple[int, int]:
    """Columns and rows of a picture of that size in pixels: its shape kept, within the limits, never enlarged."""
    width, height = size[0] / cell_px[0], size[1] / cell_px[1]
    scale = min(1.0, min(console_columns, COLUMNS_MAX) / width, ROWS_MAX / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def half_blocks(picture: Image.Image, columns: int, rows: int) -> Text:
    """Two pixels a character: the upper one its colour, the lower one its background's."""
    import numpy as np

    pixels = np.asarray(picture.convert("RGB").resize((columns, rows * 2), Image.Resampling.LANCZOS))
    lines = []
    for upper, lower in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        line = Text(no_wrap=True)
        for above, below in zip(upper, lower, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        lines.append(line)
    return Text("\n", no_wrap=True).join(lines)


def kitty(picture: Image.Image, columns: int, rows: int) -> str:
    data = _png(picture, columns, rows)
    pieces = [data[start : start + KITTY_CHUNK_CHARS] for start in range(0, len(data), KITTY_CHUNK_CHARS)]
    # Shown at once (a=T) from PNG (f=100), without the terminal's answer (q=2); m=1: more follows.
    heads = [f"a=T,f=100,q=2,c={columns},r={rows},"] + [""] * (len(pieces) - 1)
    mores = [1] * (len(pieces) - 1) + [0]
    return "".join(
        f"\x1b_G{head}m={more};{piece}\x1b\\" for head, more, piece in zip(heads, mores, pieces, strict=True)
    )


def iterm2(picture: Image.Image, columns: int, rows: int) -> str:
    data = _png(picture, columns, rows)
    return f"\x1b]1337;File=inline=1;width={columns};height={rows};preserveAspectRatio=1:{data}\x07"


def sixel(picture: Image.Image, columns: int, rows: int) -> str:
    """Six rows of pixels at a time, one pass for each colour in them, equal columns counted."""
    import numpy as np

    small = _scaled(picture, columns, rows).quantize(SIXEL_COLOURS)
    indices, (width, height) = np.asarray(small), small.size
    palette = np.asarray(small.getpalette(), dtype=np.int64).reshape(-1, 3) * 100 // 255
    used = np.unique(indices)
    out = [f'\x1bPq"1;1;{width};{height}', *(f"#{one};2;{';'.join(map(str, palette[one]))}" for one in used)]
    for top in range(0, height, 6):
        band = indices[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        passes = [f"#{one}{_counted(((band == one) * weights).sum(axis=0))}" for one in np.unique(band)]
        out.append("$".join(passes) + "-")
    return "".join(out) + "\x1b\\"


def device_attributes(output: TextIO | None = None) -> str:
    """What the terminal says it can do, such as `ESC[?62;4;22c`; 4 among it is sixel. Empty if it says nothing."""
    output = output or sys.stdout
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        return ""
    try:
        tty.setcbreak(descriptor)
        output.write("\x1b[c")
        output.flush()
        return _read_until(descriptor, b"c", ANSWER_WAIT_S)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_until(descriptor: int, end: bytes, wait_s: float) -> str:
    said, give_up = b"", time.monotonic() + wait_s
    while not said.endswith(end):
        left = give_up - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            break
        said += os.read(descriptor, 1)
    return said.decode("ascii", "replace")


def _counted(columns: NDArray[np.int64]) -> str:
    """A row of sixels; more than three equal ones are written as !COUNT and one."""
    import numpy as np

    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    lengths = np.diff(starts, append=len(columns))
    runs = zip(columns[starts].tolist(), lengths.tolist(), strict=True)
    return "".join(f"!{count}{chr(63 + bits)}" if count > 3 else chr(63 + bits) * count for bits, count in runs)


def _scaled(picture: Image.Image, columns: int, rows: int) -> Image.Image:
    small = picture.copy()
    small.thumbnail((columns * CELL_PX[0], rows * CELL_PX[1]))
    return small


def _png(picture: Image.Image, columns: int, rows: int) -> str:
    buffer = io.BytesIO()
    # Twice the cells' pixels, for screens with small ones.
    _scaled(picture, columns * 2, rows * 2).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
