"""Captions for open-vocabulary detection: from what a planner writes to phrases, and from phrases to passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LIST_MARKS = "[](){}\"'`"


def phrases_of(caption: str) -> list[str]:
    """The things that a caption names, in lower case, each once, in order.

    Phrases end at full stops, as Grounding DINO was trained ("girl . cart ."). Where there is none, they end at
    commas or line breaks, and the marks of a list ("['girl', 'cart']") are taken off. What has no letter and no
    digit names nothing.
    """
    text = caption.lower()
    if "." not in text.rstrip(" ."):
        text = text.replace(",", ".").replace(";", ".").replace("\n", ".")
    phrases = (" ".join(part.split()).strip(_LIST_MARKS + " ,;") for part in text.split("."))
    return list(dict.fromkeys(phrase for phrase in phrases if any(character.isalnum() for character in phrase)))


def caption_of(phrases: Sequence[str]) -> str:
    """The caption of phrases as the model reads it."""
    return " . ".join(phrases) + " ."


def packed(phrases: Sequence[str], tokens_in: Callable[[str], int], tokens_max: int) -> list[list[str]]:
    """Phrases in as few groups as order allows, none of more than `tokens_max` tokens with [CLS], [SEP] and stops."""
    groups: list[list[str]] = []
    used = tokens_max
    for phrase in phrases:
        needed = tokens_in(phrase) + 1
        if used + needed > tokens_max:
            groups.append([])
            used = 2
        groups[-1].append(phrase)
        used += needed
    return groups
