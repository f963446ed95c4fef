"""OCR: all of a text or a part of it, from easyocr; texts are the picture's own or made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from planner.data.desk import Contents, Desk, Request
from planner.data.embedded import NOTHING_FOUND, part_answer, whole_text
from planner.data.labels import Box
from planner.data.ocr_texts import OcrText, OcrTexts
from planner.data.phrasebook import Wording
from planner.data.rows.base import SingleRequest, call
from planner.data.wordings import Wordings

SKILL = "easyocr"
_OWN_SHARE = 0.6
"""How often the text of a picture that has one is asked for, and not a made-up one."""


@lru_cache
def words() -> Wordings:
    return Wordings.load()


@lru_cache
def _vocabulary() -> tuple[str, ...]:
    return tuple(words().vocabulary())


def read_whole(desk: Desk) -> Request:
    with_text(desk)
    wording = desk.book.deal("read_whole", lambda: [Wording(text) for text in words().read_whole])
    text = desk.slots().spoken(wording.text)
    return Request(text, (call(SKILL),), "Read.", read)


def read_other(desk: Desk) -> Request:
    """A question that needs the text, about something that the texts have no part for."""
    with_text(desk)
    wording = desk.book.deal("read_other", lambda: [Wording(text) for text in words().read_other])
    return Request(desk.slots().spoken(wording.text), (call(SKILL),), "Read.", read)


def read_part(desk: Desk) -> Request:
    drawn = _made_up(desk)
    part = desk.rng.choice(sorted(drawn.parts))
    text = part_question(desk, drawn, part)
    return Request(text, (call(SKILL),), "Read.", lambda got: part_answer(drawn, part))


def part_question(desk: Desk, drawn: OcrText, part: str) -> str:
    """A person's question for one part of a text."""
    wording = desk.book.deal(
        f"read_part {part}", lambda: [Wording(text) for key, text in words().read_part if key == part]
    )
    slots = desk.slots()
    item = drawn.item
    slots.values["item"] = item if item.startswith("a ") or desk.rng.random() < 0.2 else f"the {item}"
    return slots.spoken(wording.text)


def read(got: Contents) -> str:
    return whole_text(str(got[0]["text"])) if got[0]["text"] else NOTHING_FOUND


def with_text(desk: Desk) -> None:
    """Give the desk's picture a made-up text, unless its own, or that it has none, is to be told."""
    own = _OWN_SHARE if desk.picture.lines else 0.08
    if desk.rng.random() >= own:
        _made_up(desk)


def _made_up(desk: Desk) -> OcrText:
    drawn = OcrTexts(list(_vocabulary()), desk.rng).draw()
    desk.picture = replace(desk.picture, lines=tuple(zip(drawn.lines, _stacked(drawn.lines), strict=True)))
    return drawn


def _stacked(lines: Sequence[str]) -> list[Box]:
    """Boxes of lines one below the other."""
    step = 0.9 / max(len(lines), 1)
    return [(0.1, 0.05 + index * step, 0.9, 0.05 + (index + 0.8) * step) for index in range(len(lines))]


ROW = SingleRequest("ocr", "OCR", (SKILL,), ((1.0, read_whole), (0.4, read_other), (0.6, read_part)))
