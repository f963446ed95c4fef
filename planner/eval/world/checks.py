"""Whether an answer in words is right. Strict: who says two things is wrong where one is true.

Every check gives "" for a right answer and else what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher

from planner.eval.world.shapes import iou
from services.embedded.world.concepts import COLOURS
from services.embedded.world.language import named_concepts, named_scene

SIMILAR = 0.9
"""Words count as read from this similarity on (difflib's ratio)."""
SAME_PLACE = 0.5
"""Boxes are of the same thing from this intersection over union on."""
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_OTHER_COLOURS = ("black", "white", "brown", "grey", "gray", "gold", "golden", "silver", "turquoise", "violet")
_LISTS = re.compile(r"\[[\d\s.,\[\]]*\]|\([\d\s.,]*\)")
_NUMBER = re.compile(rf"(?<![\w.])(\d+|{'|'.join(_NUMBERS)})(?![\w]|\.\d)", re.IGNORECASE)
_NONE = re.compile(r"\b(?:no|none|not|nothing|zero|0|without)\b|n't\b", re.IGNORECASE)
_ONE_OF_THEM = re.compile(r"\b(?:a|an|a single|only one|just one)\b", re.IGNORECASE)
_YES = re.compile(r"^\W*(?:yes|yeah|yep|indeed|correct|right|sure)\b", re.IGNORECASE)
_NO = re.compile(r"^\W*(?:no|nope|not)\b", re.IGNORECASE)
_THERE_IS = re.compile(
    r"\b(?:there (?:is|are)|i (?:can )?see|(?:it|they|he|she) (?:is|are|has|have)|is|are)\b", re.IGNORECASE
)
_BOX = re.compile(r"[\[(]\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*[\])]")
_PLACES = {
    "left": r"\bleft\b",
    "right": r"\bright\b",
    "top": r"\b(?:top|upper|above)\b",
    "bottom": r"\b(?:bottom|lower|below)\b",
    "middle": r"\b(?:middle|cent(?:er|re)|central)\b",
}
_SMALL = frozenset(
    ["that", "this", "with", "from", "they", "them", "than", "have", "some", "most", "more", "into", "when", "their"]
)


def count_is(answer: str, wanted: int) -> str:
    """The answer's only number is `wanted`. Coordinates do not count as numbers; "a dog" is one."""
    plain = _LISTS.sub(" ", answer)
    said = {int(word) if word.isdigit() else _NUMBERS.index(word) for word in _words_of(_NUMBER, plain)}
    if not said and _NONE.search(plain):
        said = {0}
    elif not said and _ONE_OF_THEM.search(plain):
        said = {1}
    if said == {wanted} and not (wanted and re.search(r"\bnot\b|n't\b", plain)):
        return ""
    return f"says {sorted(said) or 'no number'}, there are {wanted}"


def yes_or_no(answer: str, wanted: bool) -> str:
    """The answer says yes or no, and only that."""
    said = polarity(answer)
    return "" if said is wanted else f"says {_POLARITY[said]}, right is {_POLARITY[wanted]}"


_POLARITY = {True: "yes", False: "no", None: "neither yes nor no"}


def polarity(answer: str) -> bool | None:
    """Yes, no, or neither (also for both)."""
    negated = re.search(r"\b(?:no|not|none|nothing|cannot)\b|n't\b", answer, re.IGNORECASE) is not None
    if _YES.match(answer):
        return None if negated else True
    if _NO.match(answer):
        return None if re.search(r"\byes\b", answer, re.IGNORECASE) else False
    if negated:
        return False
    return True if _THERE_IS.search(answer) else None


def colour_is(answer: str, wanted: str) -> str:
    """The answer names `wanted` and no other colour."""
    known = (*COLOURS, *_OTHER_COLOURS)
    said = {word for word in known if re.search(rf"\b{word}\b", answer, re.IGNORECASE)}
    return "" if said == {wanted} else f"says {', '.join(sorted(said)) or 'no colour'}, it is {wanted}"


def words_read(answer: str, text: str) -> str:
    """The answer holds the text, nearly letter for letter; line breaks, case and punctuation do not count."""
    wanted, said = _letters(text), _letters(answer)
    length = len(wanted)
    windows = (" ".join(said[start : start + length]) for start in range(max(len(said) - length, 0) + 1))
    best = max((SequenceMatcher(None, window, " ".join(wanted)).ratio() for window in windows), default=0.0)
    return "" if best >= SIMILAR else f"the text is not in the answer (nearest {best:.2f})"


def names(answer: str, present: Collection[str], share: float) -> str:
    """The answer names at least a share of the concepts, and none that is not there."""
    said = named_concepts(answer)
    wrong = said - set(present)
    if wrong:
        return f"names {', '.join(sorted(wrong))}, which is not there"
    found = len(said & set(present))
    return "" if found >= max(1, share * len(set(present))) else f"names {found} of {len(set(present))} things"


def scene_is(answer: str, wanted: str) -> str:
    """The answer names the background."""
    said = named_scene(answer)
    return "" if said == wanted else f"says {said or 'no scene'}, it is {wanted}"


def place_is(answer: str, box: Sequence[float]) -> str:
    """The answer says where the box is, by words or by a box; every word must be right."""
    boxes = [[float(value) for value in found] for found in _BOX.findall(answer)]
    plain = _LISTS.sub(" ", answer)
    said = {place for place, words in _PLACES.items() if re.search(words, plain, re.IGNORECASE)}
    if not boxes and not said:
        return "says no place"
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wrong = {place for place in said if not _lies(place, x, y, said)}
    if wrong:
        return f"says {', '.join(sorted(wrong))}, it is at {x:.2f}, {y:.2f}"
    return "" if not boxes or max(iou(found, box) for found in boxes) >= SAME_PLACE else "gives another box"


def _lies(place: str, x: float, y: float, said: Collection[str]) -> bool:
    if place == "middle":
        across = {"left", "right"} & set(said)
        upright = {"top", "bottom"} & set(said)
        return (bool(across) or 0.25 <= x <= 0.75) and (bool(upright) or 0.25 <= y <= 0.75)
    return {"left": x < 0.55, "right": x > 0.45, "top": y < 0.55, "bottom": y > 0.45}[place]


def tells_fact(answer: str, facts: Sequence[str]) -> str:
    """The answer holds most of what one of the facts says."""
    said = set(_letters(answer))
    best = 0.0
    for fact in facts:
        words = {word for word in _letters(fact) if len(word) > 3 and word not in _SMALL}
        best = max(best, len(words & said) / max(len(words), 1))
    return "" if best >= 0.6 else f"none of the known facts ({best:.0%} of the nearest)"


def post_about(answer: str, words: Sequence[str]) -> str:
    """A text of a few words about the subject, and not only the notice that a picture is ready."""
    said = re.sub(r"(?:the|your|here is the) picture is ready\.?", " ", answer, flags=re.IGNORECASE)
    if len(said.split()) < 4:
        return "no text"
    low = said.casefold()
    return "" if any(word.casefold() in low for word in words) else f"the text is not about {words[0]}"


def _words_of(pattern: re.Pattern[str], text: str) -> list[str]:
    return [found.casefold() for found in pattern.findall(text)]


def _letters(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold())
