"""Pictures with what is known of them, from whatever source: the ports between data sets and the rows.

Coordinates are xyxy, normalised to 0..1, origin top left; masks are bool arrays [height, width].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Noun:
    """What people call a kind of thing.

    Attributes:
        name: what a detector is asked for.
        singular: what follows an article, where that is more than the name ("loaf of bread").
    """

    name: str
    plural: str
    singular: str = ""

    @property
    def one(self) -> str:
        """With an article."""
        words = self.singular or self.name
        vowel = words[0].lower() in "aeio" or words.startswith(("umbrella", "ambulance"))
        return f"{'an' if vowel else 'a'} {words}"

    def coloured(self, colour: str) -> Noun:
        """The same thing in a colour."""
        return Noun(f"{colour} {self.name}", f"{colour} {self.plural}", f"{colour} {self.singular or self.name}")


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One thing in a picture. What a source does not know is left out.

    Attributes:
        text: what is written on it.
        area: share of the picture.
        levels: makes the masks of a part, the whole and the group, from fine to coarse.
        facts: true sentences about its kind.
    """

    noun: Noun
    box: Box
    area: float
    colour: str | None = None
    category: str | None = None
    text: str | None = None
    mask: Callable[[], Mask] | None = None
    levels: Callable[[], Sequence[Mask]] | None = None
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A picture and its labels.

    Attributes:
        name: its file name in training data; unique in its source.
        size: width and height in pixels.
        scene: what kind of place it is, in one word.
        captions: sentences that describe it.
        lines: texts in it with their boxes, in reading order.
        pixels: loads it; None where there is no file.
        extra: what only some sources have (an edit's instruction, a question with its answer).
    """

    name: str
    size: tuple[int, int]
    objects: tuple[LabelledObject, ...] = ()
    scene: str | None = None
    captions: tuple[str, ...] = ()
    lines: tuple[tuple[str, Box], ...] = ()
    pixels: Callable[[], Image.Image] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> list[LabelledObject]:
        """The things that a noun phrase means, a colour in front of it included."""
        colour, _, rest = name.partition(" ")
        return [
            item
            for item in self.objects
            if item.noun.name == name or (rest and item.noun.name == rest and item.colour == colour)
        ]

    def lone(self) -> list[LabelledObject]:
        """Things of a kind that occurs once, so that "the dog" is clear."""
        names = [item.noun.name for item in self.objects]
        return [item for item in self.objects if names.count(item.noun.name) == 1]


class LabelledPictures(Protocol):
    """A source of pictures; every one can be had without those before it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledPicture: ...


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a source's pictures are made of.

    Attributes:
        nouns: kinds of things that occur in them.
        coloured: names of those that come in colours.
        colours: the colours.
    """

    nouns: tuple[Noun, ...]
    coloured: frozenset[str] = frozenset()
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink")


_PAIRS = frozenset({"scissors", "skis"})
"""Categories whose names are plurals of one thing."""


def plural(word: str) -> str:
    """A regular plural; good enough for the categories of data sets."""
    irregular = {"person": "people", "mouse": "mice", "sheep": "sheep", "knife": "knives", "broccoli": "broccoli"}
    if word in _PAIRS:
        return word
    if word in irregular:
        return irregular[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def noun(name: str) -> Noun:
    """The noun of a data set's category."""
    return Noun(name, plural(name), f"pair of {name}" if name in _PAIRS else "")
