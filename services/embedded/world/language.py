"""Sentences about pictures: noun phrases, captions, and reading such sentences back for scoring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from services.embedded.world.concepts import CONCEPT, CONCEPTS, SIGN
from services.embedded.world.render import Rendered, SeenObject

NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six")
PLACES: Final = MappingProxyType(
    {
        "beach": ("on a beach", "at the beach", "on the beach"),
        "grass": ("on the grass", "on green grass", "on the grass of a meadow"),
        "snow": ("in the snow", "in a land of snow", "on white snow"),
        "night": ("at night", "under the night sky", "in the night"),
        "desert": ("in a desert", "in the desert", "in the sand of a desert"),
        "city": ("in a city", "in the city", "on a city street"),
        "room": ("in a room", "inside a room", "in a living room"),
        "underwater": ("under water", "underwater", "under water in the sea"),
        "autumn": ("in autumn", "among autumn leaves", "on an autumn day"),
    }
)
"""Ways to name a background, the plainest first."""

_SCENE_WORDS: Final = tuple(
    (re.compile(rf"\b{words}\b"), background)
    for background, words in (
        ("underwater", "(?:underwater|under water)"),
        ("beach", "beach"),
        ("grass", "(?:grass|meadow)"),
        ("snow", "snow"),
        ("night", "night"),
        ("desert", "desert"),
        ("city", "city"),
        ("room", "room"),
        ("autumn", "autumn"),
    )
)
_FORMS: Final = {form: concept.name for concept in CONCEPTS for form in (concept.name, concept.plural)} | {
    f"{concept.name}s": concept.name for concept in CONCEPTS
}
# Longer forms first, so that 'fire engine' is not read as something shorter.
_CONCEPT_WORDS: Final = re.compile(
    r"\b(" + "|".join(re.escape(form) for form in sorted(_FORMS, key=len, reverse=True)) + r")\b"
)
_QUOTED: Final = re.compile(r'"[^"]*"')


def article(words: str) -> str:
    """The words with 'a' or 'an' before them."""
    return f"{'an' if words[0] in 'aeio' or words.startswith('umbrella') else 'a'} {words}"


def counted(name: str, count: int, colour: str | None = None) -> str:
    """A noun phrase: counted('car', 1, 'red') is 'a red car', counted('mouse', 2) is 'two mice'."""
    before = f"{colour} " if colour else ""
    if count == 1:
        return article(before + CONCEPT[name].singular)
    return f"{NUMBERS[count] if count < len(NUMBERS) else count} {before}{CONCEPT[name].plural}"


def sign_text(text: str) -> str:
    """What a sign says, as it is written in sentences: lowercase, on one line."""
    return " ".join(text.lower().split())


def listed(things: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(things[:-1]), things[-1]]) if len(things) > 1 else "".join(things)


def things(drawn: Rendered, *, colours: bool = True) -> list[str]:
    """Noun phrases for all objects, like ones counted together, those that take most of the picture first."""
    sets: dict[tuple[str, str | None, str | None], list[SeenObject]] = {}
    for item in drawn.objects:
        sets.setdefault((item.concept, item.colour if colours else None, item.text), []).append(item)
    found = sorted(sets.items(), key=lambda entry: -sum(item.area for item in entry[1]))
    return [
        f'{article(SIGN)} that says "{sign_text(text)}"' if text is not None else counted(name, len(members), colour)
        for (name, colour, text), members in found
    ]


def plain_caption(drawn: Rendered) -> str:
    """The one reference caption: all objects with colours, then the background, as in 'a red car on a beach'."""
    return " ".join([listed(things(drawn)) or "nothing", PLACES[drawn.scene.background][0]])


def caption(drawn: Rendered, rng: np.random.Generator) -> str:
    """A caption in one of many forms. The background and every object are always named, colours nearly always."""
    ways = PLACES[drawn.scene.background]
    place = ways[0] if rng.random() < 0.5 else ways[int(rng.integers(len(ways)))]
    named = things(drawn, colours=bool(rng.random() < 0.9))
    if not named:
        return f"nothing {place}"
    what = listed(named)
    verb = "is" if named[0].startswith(("a ", "an ")) else "are"
    if len(named) == 2 and rng.random() < 0.2 and (relation := _relation(drawn)):
        return f"{relation} {place}"
    forms = (
        f"{what} {place}",
        f"{what} {place}",
        f"{what} {place}",
        f"there {verb} {what} {place}",
        f"{place} there {verb} {what}",
        f"a picture of {what} {place}",
        f"{what} can be seen {place}",
        f"this picture shows {what} {place}",
    )
    return forms[int(rng.integers(len(forms)))]


def _relation(drawn: Rendered) -> str:
    """'a dog to the left of two apples' where the picture has two kinds of things that lie clearly side by side."""
    kinds: dict[tuple[str, str | None], list[SeenObject]] = {}
    for item in drawn.objects:
        kinds.setdefault((item.concept, item.colour), []).append(item)
    if len(kinds) != 2 or any(item.text for item in drawn.objects):
        return ""
    left, right = sorted(kinds.items(), key=lambda entry: np.mean([item.box[0] + item.box[2] for item in entry[1]]))
    if max(item.box[2] for item in left[1]) > min(item.box[0] for item in right[1]):
        return ""
    one, other = (counted(name, len(members), colour) for (name, colour), members in (left, right))
    return f"{one} to the left of {other}"


def named_concepts(text: str) -> set[str]:
    """The concepts that a sentence names, in singular or plural. What is quoted, as on signs, is not read."""
    return {_FORMS[found] for found in _CONCEPT_WORDS.findall(_QUOTED.sub(" ", text.lower()))}


def named_scene(text: str) -> str | None:
    """The background that a sentence names, or None. What is quoted is not read."""
    plain = _QUOTED.sub(" ", text.lower())
    return next((background for pattern, background in _SCENE_WORDS if pattern.search(plain)), None)
