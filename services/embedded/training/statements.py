"""Captions for contrastive training: what each says of a picture, and of which other pictures that is true, too."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPT, NAMES, SIGN
from services.embedded.world.language import PLACES, caption, listed, things
from services.embedded.world.render import Rendered

FULL_SHARE, PLACED_SHARE, PLACE_SHARE = 0.65, 0.18, 0.03
"""How often a statement is a whole caption, one of some of the objects, or one of the background alone; the others
name some of the objects and no background."""
_TEXT_BUCKETS: Final = 512
_CONCEPTS: Final = len(NAMES)
_COLOURED: Final = _CONCEPTS
_PLACES: Final = _COLOURED + _CONCEPTS * len(COLOURS)
_TEXTS: Final = _PLACES + len(BACKGROUNDS)
_TOTAL: Final = _TEXTS + _TEXT_BUCKETS
FEATURES: Final = _TOTAL + 1


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence with what it says.

    Attributes:
        values: [FEATURES]: how many of each concept, of each concept in each colour, which background, which text.
        said: [FEATURES], 1 where the sentence says anything of it.
    """

    text: str
    values: NDArray[np.float32]
    said: NDArray[np.float32]


def contents(drawn: Rendered) -> NDArray[np.float32]:
    """What a picture has, [FEATURES], as in `Statement.values`."""
    found = np.zeros(FEATURES, np.float32)
    for item in drawn.objects:
        concept = NAMES.index(item.concept)
        found[concept] += 1
        if item.colour:
            found[_COLOURED + concept * len(COLOURS) + COLOURS.index(item.colour)] += 1
        if item.text:
            found[_TEXTS + zlib.crc32(item.text.encode()) % _TEXT_BUCKETS] += 1
    found[_PLACES + BACKGROUNDS.index(drawn.scene.background)] = 1
    found[_TOTAL] = len(drawn.objects)
    return found


def statement(drawn: Rendered, rng: np.random.Generator) -> Statement:
    """A sentence that is true of the picture: of all of it, or of a part."""
    kind = rng.random()
    if kind < FULL_SHARE or not drawn.objects:
        return _statement(caption(drawn, rng), drawn, place=True, whole=True)
    if kind < FULL_SHARE + PLACE_SHARE:
        ways = PLACES[drawn.scene.background]
        return _statement(ways[int(rng.integers(len(ways)))], _with(drawn, ()), place=True, whole=False)
    some = _some(drawn, rng)
    if kind < FULL_SHARE + PLACE_SHARE + PLACED_SHARE:
        return _statement(caption(some, rng), some, place=True, whole=False)
    return _statement(listed(things(some, colours=bool(rng.random() < 0.6))), some, place=False, whole=False)


def untrue_statement(drawn: Rendered, rng: np.random.Generator) -> Statement:
    """A whole caption with one thing wrong: the background, or an object's concept, colour or presence."""
    changed = _changed(drawn, rng)
    return _statement(caption(changed, rng), changed, place=True, whole=True)


def true_of(statements: Sequence[Statement], pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Which statements are true of which pictures, [pictures, statements].

    Args:
        pictures: `contents` of each.
    """
    said = np.stack([one.said for one in statements])
    values = np.stack([one.values for one in statements]) * said
    has = np.stack(pictures)
    # The squared difference on what is said, as three products.
    wrong = (has**2) @ said.T - 2 * has @ values.T + (values**2).sum(1)
    true: NDArray[np.bool_] = wrong < 0.5
    return true


def _statement(text: str, about: Rendered, *, place: bool, whole: bool) -> Statement:
    values = contents(about)
    said = np.zeros(FEATURES, np.float32)
    coloured = any(word in COLOURS for word in text.split())
    for concept in {item.concept for item in about.objects}:
        index = NAMES.index(concept)
        said[index] = 1
        if coloured:
            said[_COLOURED + index * len(COLOURS) : _COLOURED + (index + 1) * len(COLOURS)] = 1
    said[_PLACES:_TEXTS] = place
    said[_TEXTS:_TOTAL] = values[_TEXTS:_TOTAL] > 0
    said[_TOTAL] = whole
    return Statement(text, values, said)


def _some(drawn: Rendered, rng: np.random.Generator) -> Rendered:
    """All objects of some of the concepts."""
    concepts = sorted({item.concept for item in drawn.objects})
    count = 1 if rng.random() < 0.6 else int(rng.integers(1, len(concepts) + 1))
    kept = {concepts[int(index)] for index in rng.choice(len(concepts), count, replace=False)}
    return _with(drawn, [index for index, item in enumerate(drawn.objects) if item.concept in kept])


def _with(drawn: Rendered, kept: Sequence[int]) -> Rendered:
    return replace(drawn, objects=tuple(drawn.objects[index] for index in kept))


def _changed(drawn: Rendered, rng: np.random.Generator) -> Rendered:
    objects = list(drawn.objects)
    choice = rng.random()
    if not objects or choice < 0.2:
        other = [name for name in BACKGROUNDS if name != drawn.scene.background]
        return replace(drawn, scene=replace(drawn.scene, background=other[int(rng.integers(len(other)))]))
    index = int(rng.integers(len(objects)))
    item = objects[index]
    if choice < 0.55 and item.colour:
        colours = [colour for colour in COLOURS if colour != item.colour]
        objects[index] = replace(item, colour=colours[int(rng.integers(len(colours)))])
    elif choice < 0.75 and len(objects) > 1:
        objects.pop(index)
    else:
        names = [name for name in NAMES if name not in (item.concept, SIGN)]
        name = names[int(rng.integers(len(names)))]
        colour = COLOURS[int(rng.integers(len(COLOURS)))] if CONCEPT[name].coloured else None
        objects[index] = replace(item, concept=name, colour=colour, text=None)
    return replace(drawn, objects=tuple(objects))
