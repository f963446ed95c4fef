"""Stage 1's picture and text pairs, filtered so that rare things stay and frequent ones do not drown them.

LLaVA's rule (arXiv 2304.08485, section 4.2 and appendix): phrases that occur fewer than 3 times are left out; then,
from the rarest phrase on, all captions that have it are taken; of a phrase with more than 100 captions, 100 at
random.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from planner.data.llava.noun_phrases import noun_phrases
from planner.data.readers.base import read_json, read_lines
from planner.data.recipe import DataError
from planner.data.released import IMAGE_MARK, Sample
from planner.data.wordings import lines

OCCURRENCES_MIN = 3
CAPTIONS_MAX = 100

INSTRUCTIONS = "brief_caption.txt"
"""The file of short instructions in `planner.data.wordings`."""

Pair = tuple[str, str]
"""A picture's file and its caption."""


def filtered(
    pairs: Sequence[Pair],
    seed: int = 0,
    *,
    occurrences_min: int = OCCURRENCES_MIN,
    captions_max: int = CAPTIONS_MAX,
) -> list[Pair]:
    """The pairs that are kept, in their order."""
    by_phrase: dict[str, list[int]] = defaultdict(list)
    for number, (_, caption) in enumerate(pairs):
        for phrase in noun_phrases(caption):
            by_phrase[phrase].append(number)
    rng = random.Random(seed)
    kept: set[int] = set()
    counts = Counter({phrase: len(numbers) for phrase, numbers in by_phrase.items()})
    for phrase, count in sorted(counts.items(), key=lambda entry: (entry[1], entry[0])):
        if count < occurrences_min:
            continue
        numbers = by_phrase[phrase]
        kept.update(numbers if count <= captions_max else rng.sample(numbers, captions_max))
    return [pairs[number] for number in sorted(kept)]


def samples(pairs: Sequence[Pair], seed: int = 0) -> Iterator[Sample]:
    """The pairs as single-turn samples: a short instruction, and the caption as the answer."""
    rng = random.Random(seed)
    for number, (image, caption) in enumerate(pairs):
        human = {"from": "human", "value": IMAGE_MARK + rng.choice(lines(INSTRUCTIONS))}
        gpt = {"from": "gpt", "thoughts": "", "actions": [], "value": caption}
        yield {"id": f"pair_{number:06}", "image": image, "conversations": [human, gpt]}


def read_pairs(path: Path) -> list[Pair]:
    """Pairs from `.json` (a list), `.jsonl` or `.tsv` (caption, then file, as Conceptual Captions has them).

    Raises:
        DataError: the file is none of these, or an entry lacks its picture or caption.
    """
    if path.suffix == ".tsv":
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        if any(len(row) < 2 for row in rows):
            raise DataError(f"{path}: a line is a caption, a tab and the picture's file.")
        return [(row[1].strip(), " ".join(row[0].split())) for row in rows]
    entries = read_json(path) if path.suffix == ".json" else list(read_lines(path))
    try:
        return [(str(entry["image"]), " ".join(str(entry["caption"]).split())) for entry in entries]
    except (KeyError, TypeError):
        raise DataError(f"{path}: an entry needs `image` and `caption`.") from None
