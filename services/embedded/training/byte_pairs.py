"""Byte-pair merges for the small vocabularies of embedded checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def byte_pair_merges(words: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Merges after which each word is one token: the commonest pair first, ties by alphabet.

    The trainer of the tokenizers library breaks ties by chance, and a resumed run needs the tokens that it had.

    Args:
        words: each as its pieces, single characters at first.
    """
    pieces = [list(word) for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    found: list[str] = []
    for piece in word:
        if found and (found[-1], piece) == pair:
            found[-1] += piece
        else:
            found.append(piece)
    return found
