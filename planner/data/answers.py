"""Answers in words from what skills gave. They follow the result, right or wrong: a planner cannot know better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.data.labels import Noun

BOXES_MAX = 4
_LOW, _HIGH = 0.37, 0.63


def listed(things: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(things[:-1]), things[-1]]) if len(things) > 1 else "".join(things)


def counted(noun: Noun, count: int) -> str:
    """'1 dog', '3 mice', 'no dogs'."""
    if count == 0:
        return f"no {noun.plural}"
    return f"1 {noun.singular or noun.name}" if count == 1 else f"{count} {noun.plural}"


def tally(nouns: Sequence[Noun], content: Mapping[str, Any]) -> list[str]:
    """How many of each were found."""
    return [counted(noun, content["phrases"].count(noun.name)) for noun in nouns]


def there(nouns: Sequence[Noun], content: Mapping[str, Any]) -> str:
    """'There are 2 dogs and 1 cat.'"""
    found = tally(nouns, content)
    return f"There {'is' if found[0].startswith('1 ') else 'are'} {listed(found)}."


def coordinates(box: Sequence[float]) -> str:
    return f"[{', '.join(f'{side:g}' for side in box)}]"


def place(box: Sequence[float]) -> str:
    """Where a box lies in the picture, in words."""
    across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    side = "left" if across < _LOW else "right" if across > _HIGH else ""
    height = "top" if down < _LOW else "bottom" if down > _HIGH else ""
    if not side and not height:
        return "in the middle"
    if side and height:
        return f"at the {height} {side}"
    return f"on the {side}" if side else f"at the {height}"


def places(noun: Noun, content: Mapping[str, Any]) -> str:
    """'The dog is on the left.' for one, all places for several."""
    boxes = [box for box, name in zip(content["boxes"], content["phrases"], strict=True) if name == noun.name]
    if not boxes:
        return f"I do not see {noun.one}."
    if len(boxes) == 1:
        return f"The {noun.name} is {place(boxes[0])}."
    return f"There are {counted(noun, len(boxes))}: {listed([place(box) for box in boxes[:BOXES_MAX]])}."


def sentence(text: str) -> str:
    """With a capital at the start and a stop at the end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def percent(share: float) -> str:
    return f"{round(100 * share)}%"
