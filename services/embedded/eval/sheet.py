"""A sheet of cases for the report: good ones and bad ones, as one small WebP file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from services.embedded.eval.drawing import font
from services.embedded.eval.scorer import Example

BYTES_MAX: Final = 120_000
WIDTH: Final = 1048
_GAP: Final = 8
_TEXT_PX: Final = 13
_LINE_PX: Final = 16
_HEADING_PX: Final = 17
_LINES_MAX: Final = 5
_PANEL_PX: Final = 256
_QUALITIES: Final = (34, 42, 50, 58, 64, 70, 76, 82, 88)


def chosen(examples: Sequence[Example], count: int) -> tuple[list[Example], list[Example]]:
    """Good cases, spread evenly over the better half, and the worst ones; none is both.

    The worst come first among the bad ones; cases of one score keep their order. What is no better than the worst is
    not good, unless it is perfect: where most go wrong, the few that are right are the good ones, or there are none.
    """
    ranked = sorted(examples, key=lambda example: example.score)
    bad = [example for example in ranked[:count] if example.score < 1.0]
    upper = ranked[max(len(bad), (len(ranked) + 1) // 2) :]
    better = [example for example in upper if example.score > ranked[0].score or example.score == 1.0]
    step = max(len(better) / count, 1.0) if count else 1.0
    good = [better[int(index * step)] for index in range(count) if int(index * step) < len(better)]
    return good, bad


def sheet(rows: Sequence[tuple[str, Sequence[Example]]]) -> Image.Image:
    """Rows of cases, each under its heading."""
    blocks: list[Image.Image] = []
    for heading, examples in rows:
        blocks.append(_heading(heading))
        tiles = [_tile(example) for example in examples]
        while tiles:
            line, used = [], 0
            while tiles and used + tiles[0].width <= WIDTH:
                used += tiles[0].width + _GAP
                line.append(tiles.pop(0))
            blocks.append(_joined(line))
    page = Image.new("RGB", (WIDTH, sum(block.height + _GAP for block in blocks)), "white")
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height + _GAP
    return page


def save(picture: Image.Image, path: Path) -> None:
    """Write a WebP file of at most `BYTES_MAX` bytes, in the best quality that fits; smaller where none does."""
    encoded = [b""] * len(_QUALITIES)
    # Bytes grow with quality: the best that fits is found by halving, since each try takes long.
    lowest, highest = 0, len(_QUALITIES)
    while lowest < highest:
        middle = (lowest + highest) // 2
        encoded[middle] = _webp(picture, _QUALITIES[middle])
        lowest, highest = (middle + 1, highest) if len(encoded[middle]) <= BYTES_MAX else (lowest, middle)
    if lowest == 0:
        width, height = picture.size
        save(picture.resize((width * 4 // 5, height * 4 // 5), Image.Resampling.LANCZOS), path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded[lowest - 1])


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def wrapped(text: str, width: float, pixels: int = _TEXT_PX) -> list[str]:
    """Text in lines that are at most `width` pixels long (a single longer word stays whole)."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(pixels).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _tile(example: Example) -> Image.Image:
    strip = _joined([_sized(panel) for panel in example.panels()], gap=2)
    lines = [line for text in example.caption if text for line in wrapped(text, strip.width - 2)]
    if len(lines) > _LINES_MAX:
        lines = [*lines[: _LINES_MAX - 1], lines[_LINES_MAX - 1] + " ..."]
    tile = Image.new("RGB", (strip.width, strip.height + _LINE_PX * len(lines) + 4), "white")
    tile.paste(strip, (0, 0))
    draw = ImageDraw.Draw(tile)
    for number, line in enumerate(lines):
        draw.text((1, strip.height + 2 + _LINE_PX * number), line, fill=(30, 30, 30), font=font(_TEXT_PX))
    return tile


def _sized(panel: Image.Image) -> Image.Image:
    if panel.width == _PANEL_PX:
        return panel
    return panel.resize((_PANEL_PX, max(panel.height * _PANEL_PX // panel.width, 1)), Image.Resampling.LANCZOS)


def _joined(pictures: Sequence[Image.Image], gap: int = _GAP) -> Image.Image:
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    strip = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width + gap
    return strip


def _heading(text: str) -> Image.Image:
    block = Image.new("RGB", (WIDTH, _HEADING_PX + 8), (236, 238, 242))
    ImageDraw.Draw(block).text((6, 3), text, fill=(20, 20, 20), font=font(_HEADING_PX))
    return block
