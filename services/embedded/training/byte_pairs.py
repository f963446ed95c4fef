"""Byte-pair merges for the small vocabularies of embedded checkpoints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise


def byte_pair_merges(words: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Merges after which each word is one token: the commonest pair first, ties by alphabet.

    The trainer of the tokenizers library breaks ties by chance, and a resumed run needs the tokens that it had.

    Args:
        words: each as its pieces, single characters at first.
    """
    pieces = [list(word) for word in words]
    counts = Counter(pair for word in pieces for pair in pairwise(word))
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    for index, word in enumerate(pieces):
        for pair in pairwise(word):
            places[pair].add(index)
    merges: list[tuple[str, str]] = []
    while counts:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for index in places.pop(best):
            counts.subtract(pairwise(pieces[index]))
            pieces[index] = _merged(pieces[index], best)
            for pair in pairwise(pieces[index]):
                counts[pair] += 1
                places[pair].add(index)
        counts = +counts  # without pairs that are gone
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    found: list[str] = []
    for piece in word:
        if found and (found[-1], piece) == pair:
            found[-1] += piece
        else:
            found.append(piece)
    return found
