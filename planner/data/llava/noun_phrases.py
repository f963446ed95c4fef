"""Noun phrases of captions by a simple rule, where a parser such as spaCy would be heavy.

A phrase is a run of words between function words (articles, prepositions, pronouns, forms of to be and the like) and
punctuation, without the verb forms at its end ("a man riding a horse" gives "man" and "horse"). Verbs in the middle of
a run stay in it. Counting how often phrases occur, which is what it is for, forgives that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PHRASE_WORDS_MAX = 4

_WORD = re.compile(r"[a-z][a-z'-]*|[^a-z\s]")
_FUNCTION_WORDS: Final = frozenset((Path(__file__).parent / "function_words.txt").read_text(encoding="utf-8").split())
_VERB_ENDING = re.compile(r"^\w{3,}(ing|ed)$")
_NOUNS_LIKE_VERBS: Final = frozenset(
    (Path(__file__).parent / "nouns_like_verbs.txt").read_text(encoding="utf-8").split()
)


def noun_phrases(caption: str) -> list[str]:
    """The phrases of one caption in lower case, in order, each once."""
    found: dict[str, None] = {}
    run: list[str] = []
    for word in [*_WORD.findall(caption.lower()), "."]:
        if word[0].isalpha() and word not in _FUNCTION_WORDS:
            run.append(word)
            continue
        phrase = _trimmed(run)
        if phrase:
            found[phrase] = None
        run = []
    return list(found)


def _trimmed(run: list[str]) -> str:
    words = list(run)
    while words and _VERB_ENDING.match(words[-1]) and words[-1] not in _NOUNS_LIKE_VERBS:
        words.pop()
    return " ".join(words[-PHRASE_WORDS_MAX:])
