"""Hand-written requests from `wordings/*.tsv`, with slots that are filled from a picture or from lists.

A line is a request and, where it is not the row's own, a tab and the argument that it means. Slots: `{noun}`,
`{a_noun}`, `{nouns}`, `{noun2}` ... (things asked about), `{new}`, `{a_new}`, `{news}`, `{new2}` ... (things wished
for), `{colour}`, `{a_colour}`, `{a_coloured}`, `{category}`, `{place}`, `{style}`, `{scene}`, `{edit}`, `{Edit}`,
`{point}`, `{box}`, `{threshold}`, `{percent}`, `{text_threshold}` (how sure a detector must be), `{thing}` (something
with text on it), `{item}` (something with a price). A value that is drawn for a slot stays the same within one request.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.data.labels import Noun
from planner.data.wordings import lines, vary

Rewrite = Callable[[str, Sequence[str]], str]
"""Words a request anew; the given values must stand in it as they are."""

_SLOT = re.compile(r"\{(\w+?)(\d?)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """One request: its text, the argument that it means, and its kind, both "" where the file has none."""

    text: str
    argument: str = ""
    kind: str = ""


def read_wordings(name: str, *, kinds: bool = False) -> list[Wording]:
    """The requests of `wordings/NAME.tsv`; with `kinds`, a first column says of what kind each is."""
    found = []
    for line in lines(f"{name}.tsv"):
        kind, _, rest = line.partition("\t") if kinds else ("", "", line)
        text, _, argument = rest.partition("\t")
        found.append(Wording(text, argument, kind))
    return found


def read_nouns(name: str) -> list[Noun]:
    """The names and plurals of `wordings/NAME.tsv`."""
    return [Noun(*line.split("\t")) for line in lines(f"{name}.tsv")]


def general_nouns() -> list[Noun]:
    """Everyday things from `wordings/nouns.tsv`."""
    return read_nouns("nouns")


class Phrasebook:
    """Deals out wordings so that each is used before one comes again.

    Args:
        shuffle: seed of the decks' order, the same for all shards.
        offset: 0..1, where in each deck the dealing starts: shards of one data set start at different places.
    """

    def __init__(self, shuffle: int, offset: float = 0.0) -> None:
        self._shuffle = shuffle
        self._offset = offset
        self._decks: dict[str, list[Wording]] = {}
        self._next: dict[str, int] = {}

    def deal(self, name: str, make: Callable[[], list[Wording]] | None = None) -> Wording:
        """The next wording of a file, or of what `make` gives the first time."""
        if name not in self._decks:
            deck = sorted(make() if make else read_wordings(name), key=lambda one: (one.kind, one.text, one.argument))
            random.Random(f"{self._shuffle} {name}").shuffle(deck)
            self._decks[name] = deck
            self._next[name] = int(self._offset * len(deck))
        deck = self._decks[name]
        self._next[name] += 1
        return deck[(self._next[name] - 1) % len(deck)]

    def of_kind(self, name: str, kind: str) -> Wording:
        """The next wording of one kind of a file whose first column says the kind."""

        def one_kind() -> list[Wording]:
            return [wording for wording in read_wordings(name, kinds=True) if wording.kind == kind]

        return self.deal(f"{name} {kind}", one_kind)


@dataclass
class Slots:
    """The values of one request's slots.

    Attributes:
        nouns: things asked about, in order; drawn from `any_noun` when they run out.
        values: what has been fixed or drawn so far, by slot.
        asked: names of the nouns that have stood in a text, in that order.
    """

    rng: random.Random
    nouns: Sequence[Noun]
    any_noun: Callable[[], Noun]
    colours: Sequence[str]
    values: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    rewrite: Rewrite | None = None
    _new: list[Noun] = field(default_factory=list)

    def fill(self, template: str) -> str:
        """The template with a value in each slot."""
        return _SLOT.sub(lambda found: self._value(found[1], found[2]), template)

    def spoken(self, template: str) -> str:
        """The template as a person might type it: slips and variations spare what stands in the slots."""
        filled: list[str] = []

        def mark(found: re.Match[str]) -> str:
            filled.append(self._value(found[1], found[2]))
            return chr(0xE000 + len(filled) - 1)

        said = vary(_SLOT.sub(mark, template), self.rng)
        for index, value in enumerate(filled):
            said = said.replace(chr(0xE000 + index), value)
        return self.rewrite(said, filled) if self.rewrite else said

    def _value(self, kind: str, number: str) -> str:
        if kind in ("noun", "a_noun", "nouns"):
            noun = self._noun(int(number or 1))
            return {"noun": noun.name, "a_noun": noun.one, "nouns": noun.plural}[kind]
        if kind in ("new", "a_new", "news"):
            noun = self._wished(int(number or 1))
            return {"new": noun.singular or noun.name, "a_new": noun.one, "news": noun.plural}[kind]
        if kind == "a_colour":
            colour = self._value("colour", "")
            return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
        if kind == "a_coloured":
            return self._noun(1).coloured(self._value("colour", "")).one
        if kind == "Edit":
            edit = self._value("edit", "")
            return edit[0].upper() + edit[1:]
        name = kind + number
        if name not in self.values:
            self.values[name] = self._drawn(kind)
        return self.values[name]

    def _noun(self, number: int) -> Noun:
        chosen = list(self.nouns)
        while len(chosen) < number:
            other = self.any_noun()
            if all(other.name != noun.name for noun in chosen):
                chosen.append(other)
        self.nouns = chosen
        noun = chosen[number - 1]
        if noun.name not in self.asked:
            self.asked.append(noun.name)
        return noun

    def _wished(self, number: int) -> Noun:
        while len(self._new) < number:
            noun = self.any_noun()
            if all(noun.name != other.name for other in (*self._new, *self.nouns)):
                self._new.append(noun.coloured(self.rng.choice(self.colours)) if self.rng.random() < 0.3 else noun)
        return self._new[number - 1]

    def _drawn(self, kind: str) -> str:
        if kind in _LISTS:
            return self.fill(self.rng.choice(lines(_LISTS[kind])))
        if kind == "colour":
            return self.rng.choice(self.colours)
        if kind == "category":
            return self.rng.choice(("animal", "food", "vehicle", "plant", "building", "instrument", "toy", "fruit"))
        if kind in ("threshold", "text_threshold"):
            return f"{self.rng.randrange(5, 96, 5) / 100:g}"
        if kind == "percent":
            return str(self.rng.randrange(5, 96, 5))
        if kind in _NUMBERS:
            return _NUMBERS[kind](self.rng)
        x, y = self.rng.uniform(0.05, 0.95), self.rng.uniform(0.05, 0.95)
        if kind == "point":
            return f"[{x:.2f}, {y:.2f}]" if self.rng.random() < 0.5 else f"({x:.2f}, {y:.2f})"
        if kind == "box":
            return f"[{0.6 * x:.2f}, {0.6 * y:.2f}, {0.6 * x + 0.3:.2f}, {0.6 * y + 0.25:.2f}]"
        raise KeyError(f"There is no slot {{{kind}}}.")


_LISTS: Mapping[str, str] = {
    "place": "places.txt",
    "style": "styles.txt",
    "scene": "scenes.txt",
    "edit": "edits.txt",
    "thing": "things.txt",
    "topic": "topics.txt",
    "negative": "negatives.txt",
}
_NUMBERS: Mapping[str, Callable[[random.Random], str]] = {
    "seed": lambda rng: str(rng.randrange(10 ** rng.choice((1, 2, 2, 3, 4, 5)))),
    "steps": lambda rng: str(rng.choice((rng.randint(1, 100), 5 * rng.randint(1, 20)))),
    "guidance": lambda rng: f"{rng.choice((rng.randint(2, 20), rng.randint(3, 30) / 2)):g}",
    "keep": lambda rng: f"{rng.randint(10, 30) / 10:g}",
    "control": lambda rng: f"{rng.randint(2, 20) / 10:g}",
    "side": lambda rng: str(rng.choice((256, 320, 384, 448, 512, 576, 640, 768, 896, 1024))),
    "count": lambda rng: str(rng.randint(2, 12)),
}


def numbers(written: str) -> list[float]:
    """The numbers of a filled `{point}` or `{box}`."""
    return [float(found) for found in re.findall(r"\d*\.\d+", written)]
