"""Hand-written requests from `wordings/`, and the ways in which people vary them when they type.

A line may hold `{thing}` (something with text on it, from things.txt) or `{item}` (something with a price).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent / "wordings"

_OPENERS = ("Hi, ", "Hello, ", "Hey, ", "Please, ", "Okay, ", "Um, ", "So, ", "Hi! ", "Hello! ", "Now ", "One more: ")
_CLOSERS = (" Please.", " Thanks!", " Thank you.", " thx", " pls", " :)", " Thanks in advance.")


def lines(name: str) -> list[str]:
    """The lines of one file of `wordings/`, without empty ones."""
    return list(_lines(name))


@lru_cache
def _lines(name: str) -> tuple[str, ...]:
    return tuple(line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line.strip())


def pairs(name: str) -> list[tuple[str, str]]:
    """The two columns of one tab-separated file of `wordings/`."""
    rows = [line.split("\t") for line in lines(name)]
    return [(first, second) for first, second in rows]


@dataclass(frozen=True)
class Wordings:
    """All of `wordings/`, read once."""

    things: list[str]
    read_whole: list[str]
    read_part: list[tuple[str, str]]
    read_other: list[str]
    answer: list[tuple[str, str]]
    cannot_see: list[str]
    cannot_see_answers: list[str]

    @classmethod
    def load(cls) -> Wordings:
        return cls(
            things=lines("things.txt"),
            read_whole=lines("read_whole.txt"),
            read_part=pairs("read_part.tsv"),
            read_other=lines("read_other.txt"),
            answer=pairs("answer.tsv"),
            cannot_see=lines("cannot_see.txt"),
            cannot_see_answers=lines("cannot_see_answers.txt"),
        )

    def vocabulary(self) -> list[str]:
        """Every word of the wordings: the raw material for made-up texts."""
        texts = [*self.things, *self.read_whole, *self.read_other, *(text for pair in self.answer for text in pair)]
        return sorted({word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)})


def normalised(text: str) -> str:
    """Lower case, letters and digits only: two requests that share this are the same wording."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower().replace("'", "")))


def fill(wording: str, rng: random.Random, things: list[str]) -> str:
    return wording.replace("{thing}", rng.choice(things))


def vary(text: str, rng: random.Random) -> str:
    """`text` as another person might type it: opener, closer, case, punctuation, a typing mistake."""
    if rng.random() < 0.12:
        opener = rng.choice(_OPENERS)
        text = opener + (text[0].lower() + text[1:] if text[:2] != "I " and text[:2] != "I'" else text)
    if rng.random() < 0.10:
        text += rng.choice(_CLOSERS)
    if rng.random() < 0.18:
        text = text.rstrip("?.!") or text
    if rng.random() < 0.18:
        text = text.lower()
    elif rng.random() < 0.02:
        text = text.upper()
    if rng.random() < 0.12:
        text = typo(text, rng)
    return text


def unadorned(text: str) -> str:
    """`text` without the opener and the closer that `vary` puts, however they are written."""
    for opener in _OPENERS:
        if text.lower().startswith(opener.lower()):
            text = text[len(opener) :]
            break
    for closer in _CLOSERS:
        bare = closer.rstrip("?.!")
        if text.lower().rstrip("?.!").endswith(bare.lower()):
            return text.rstrip("?.!")[: -len(bare)]
    return text


def typo(text: str, rng: random.Random) -> str:
    """One slip inside a word: two letters swapped, one lost or one doubled."""
    places = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 2].isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    slip = rng.choice((text[i + 1] + text[i], text[i + 1], text[i] + text[i] + text[i + 1]))
    return text[:i] + slip + text[i + 2 :]
