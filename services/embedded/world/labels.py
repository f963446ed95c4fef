"""Labels for training: tags, semantic classes and maps, and phrases with the objects that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPT, NAMES, SPRITE_NAMES
from services.embedded.world.render import Rendered

SEMANTIC_CLASSES: Final[tuple[str, ...]] = BACKGROUNDS + NAMES
"""Classes of semantic maps in fixed order: the backgrounds ("stuff"), then the concepts. They are the tags too."""

_CLASS_INDEX: Final = {name: index for index, name in enumerate(SEMANTIC_CLASSES)}


def semantic_map(drawn: Rendered) -> NDArray[np.uint8]:
    """The class of every pixel, as indices into `SEMANTIC_CLASSES`, uint8 [size, size]."""
    names = [drawn.scene.background, *(item.concept for item in drawn.objects)]
    lookup = np.array([_CLASS_INDEX[name] for name in names], dtype=np.uint8)
    classes: NDArray[np.uint8] = lookup[drawn.instances]
    return classes


def tags(drawn: Rendered) -> list[str]:
    """What is in the picture: the background and each concept once, in the order of `SEMANTIC_CLASSES`."""
    present = {drawn.scene.background, *(item.concept for item in drawn.objects)}
    return sorted(present, key=_CLASS_INDEX.__getitem__)


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases to look for in a picture, with what they mean.

    Attributes:
        phrases: distinct phrases such as 'dog' and 'red car', shuffled.
        objects: for each phrase the indices of the objects that it means, none for what is not there.
    """

    phrases: tuple[str, ...]
    objects: tuple[tuple[int, ...], ...]

    @property
    def prompt(self) -> str:
        """The phrases as Grounding DINO reads them: 'dog . red car .'."""
        return " . ".join(self.phrases) + " ."


def phrase_objects(drawn: Rendered, phrase: str) -> tuple[int, ...]:
    """The indices of the objects that a phrase means: a concept's name, with or without a colour before it."""
    colour, _, name = phrase.partition(" ")
    if colour not in COLOURS or name not in CONCEPT:
        colour, name = "", phrase
    return tuple(
        index
        for index, item in enumerate(drawn.objects)
        if item.concept == name and (not colour or item.colour == colour)
    )


def detection_phrases(drawn: Rendered, rng: np.random.Generator, absent: int = 3) -> Phrases:
    """Phrases for each thing in the picture and for `absent` things that are not.

    A coloured concept is asked for by its name alone or, half of the time, by colour and name for each of its colours;
    then one of the absent phrases may be the same concept in a colour that is not there.
    """
    phrases: list[str] = []
    missing: list[str] = []
    for name in dict.fromkeys(item.concept for item in drawn.objects):
        colours = sorted({item.colour for item in drawn.objects if item.concept == name and item.colour})
        if colours and rng.random() < 0.5:
            phrases.extend(f"{colour} {name}" for colour in colours)
            other = [colour for colour in COLOURS if colour not in colours]
            missing.append(f"{other[int(rng.integers(len(other)))]} {name}")
        else:
            phrases.append(name)
    present = {item.concept for item in drawn.objects}
    unseen = [name for name in SPRITE_NAMES if name not in present]
    missing.extend(unseen[int(index)] for index in rng.choice(len(unseen), absent, replace=False))
    chosen = phrases + missing[:absent]
    order = [chosen[int(index)] for index in rng.permutation(len(chosen))]
    return Phrases(tuple(order), tuple(phrase_objects(drawn, phrase) for phrase in order))
