"""What the embedded world is made of: concepts, backgrounds, colours, styles, and the seeds of its data sets."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

BACKGROUNDS: Final = ("beach", "grass", "snow", "night", "desert", "city", "room", "underwater", "autumn")
COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
TRAIN_STYLES: Final = ("fluent3d", "fluent", "noto", "noto1")
UNSEEN_STYLES: Final = ("twemoji",)
SIGN: Final = "sign"
"""The concept that carries text. It is drawn and not a sprite."""

TRAIN_SEED: Final = 1
DEV_SEED: Final = 2
UNSEEN_DEV_SEED: Final = 3
TEST_SEED: Final = 1_000_003
UNSEEN_SEED: Final = 1_000_004
"""Seeds of data sets. Final scores are of TEST_SEED (in style) and UNSEEN_SEED (in the unseen style): nothing may be
trained or chosen on those scenes; while developing, look at DEV_SEED and UNSEEN_DEV_SEED."""

_IRREGULAR: Final = MappingProxyType(
    {
        "mouse": "mice",
        "sheep": "sheep",
        "deer": "deer",
        "fish": "fish",
        "cherry": "cherries",
        "strawberry": "strawberries",
        "butterfly": "butterflies",
        "snowman": "snowmen",
        "couch": "couches",
    }
)
_MEASURES: Final = MappingProxyType(
    {
        "bread": ("loaf of bread", "loaves of bread"),
        "cheese": ("piece of cheese", "pieces of cheese"),
        "corn": ("ear of corn", "ears of corn"),
        "grapes": ("bunch of grapes", "bunches of grapes"),
        "fries": ("portion of fries", "portions of fries"),
    }
)


@dataclass(frozen=True, slots=True)
class Concept:
    """A kind of thing.

    Attributes:
        name: one or two lowercase words, unique.
        codepoint: hexadecimal Unicode code point of its emoji, without variation selector; empty for `sign`.
        category: animal, food, vehicle, plant, building, figure, object, sport or instrument.
        backgrounds: where one expects it; a scene may put it elsewhere.
        coloured: whether it comes in the named `COLOURS`. Such an object always has a colour, others never.
        facts: true sentences about it, for retrieval.
    """

    name: str
    codepoint: str
    category: str
    backgrounds: tuple[str, ...]
    coloured: bool
    facts: tuple[str, ...]

    @property
    def singular(self) -> str:
        """What one of them is called after an article, for example 'loaf of bread'."""
        return _MEASURES[self.name][0] if self.name in _MEASURES else self.name

    @property
    def plural(self) -> str:
        """What several of them are called after a number."""
        if self.name in _MEASURES:
            return _MEASURES[self.name][1]
        if self.name in _IRREGULAR:
            return _IRREGULAR[self.name]
        return self.name + ("es" if self.name.endswith(("s", "x", "ch", "sh")) else "s")


def _read() -> tuple[Concept, ...]:
    with (Path(__file__).parent / "concepts.tsv").open(encoding="utf-8", newline="") as lines:
        return tuple(
            Concept(
                name=row["name"],
                codepoint=row["codepoint"],
                category=row["category"],
                backgrounds=tuple(row["backgrounds"].split(",")),
                coloured=row["coloured"] == "yes",
                facts=tuple(row["facts"].split(" | ")),
            )
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        )


CONCEPTS: Final[tuple[Concept, ...]] = _read()
CONCEPT: Final = MappingProxyType({concept.name: concept for concept in CONCEPTS})
"""Concepts by name."""
NAMES: Final[tuple[str, ...]] = tuple(concept.name for concept in CONCEPTS)
SPRITE_NAMES: Final[tuple[str, ...]] = tuple(concept.name for concept in CONCEPTS if concept.codepoint)
