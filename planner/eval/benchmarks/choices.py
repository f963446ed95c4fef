"""Which of several choices an answer means."""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"
_STATED = re.compile(r"answer\s*(?:is|:)\s*\(?([A-J])\b", re.IGNORECASE)
_ALONE = re.compile(r"^\W*([A-J])(?:\W|$)")


def chosen(answer: str, choices: Sequence[str]) -> int | None:
    """The index of the choice: a letter said as the answer, a letter at the start, or a choice's own words."""
    known = LETTERS[: len(choices)]
    stated = [letter.upper() for letter in _STATED.findall(answer)]
    letters = set(stated) & set(known)
    if len(letters) == 1:
        return known.index(letters.pop())
    alone = _ALONE.match(answer.strip())
    if alone and alone[1] in known:
        return known.index(alone[1])
    low = answer.casefold()
    # A choice that is a part of another one counts only where the longer one is not meant.
    worded = [index for index, choice in enumerate(choices) if re.search(rf"\b{re.escape(choice.casefold())}\b", low)]
    longest = [
        index
        for index in worded
        if not any(other != index and choices[index].casefold() in choices[other].casefold() for other in worded)
    ]
    return longest[0] if len(longest) == 1 else None


def listed(choices: Sequence[str]) -> str:
    """The choices as lines "A. ..."."""
    return "\n".join(f"{LETTERS[index]}. {choice}" for index, choice in enumerate(choices))
