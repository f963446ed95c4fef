"""Prompts of phrases for Grounding DINO, and the word-level BERT tokenizer that embedded checkpoints share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.embedded.world.concepts import BACKGROUNDS, COLOURS, CONCEPT, CONCEPTS, NAMES
from services.embedded.world.language import NUMBERS
from services.embedded.world.render import SeenObject

# Grounding DINO's code in transformers knows these tokens by number, those of bert-base-uncased.
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}

PLURAL_SHARE, COLOUR_SHARE = 0.12, 0.4
"""How often a concept is asked for in plural, and a coloured one by its colours."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How each concept is asked for in one prompt: 'dog' or 'dogs', 'car' or 'red car'.

    One way for all pictures of a batch: a red car that is asked for as 'red car' must not count as wrong for 'car'.
    """

    plural: frozenset[str]
    coloured: frozenset[str]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Wording:
        plural = frozenset(name for name in NAMES if rng.random() < PLURAL_SHARE)
        return cls(plural, frozenset(c.name for c in CONCEPTS if c.coloured and rng.random() < COLOUR_SHARE))

    def phrase(self, concept: str, colour: str | None) -> str:
        words = CONCEPT[concept].plural if concept in self.plural else concept
        return f"{colour} {words}" if colour and concept in self.coloured else words

    def of_object(self, item: SeenObject) -> str:
        return self.phrase(item.concept, item.colour)

    def absent(self, rng: np.random.Generator) -> str:
        """A phrase that may well mean nothing in the pictures."""
        return self.phrase(str(rng.choice(NAMES)), str(rng.choice(COLOURS)))


@dataclass(frozen=True, slots=True)
class Prompt:
    """Phrases as one text, "girl . cart .", and which tokens make up each.

    Attributes:
        input_ids: [tokens].
        tokens_of_phrase: [phrases, tokens], 1.0 where a token belongs to the phrase.
    """

    phrases: list[str]
    input_ids: torch.Tensor
    tokens_of_phrase: torch.Tensor

    @classmethod
    def of(cls, phrases: list[str], tokenizer: Any) -> Prompt:
        ids, spans = [SPECIAL["[CLS]"]], []
        for phrase in phrases:
            words = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(phrase))
            spans.append((len(ids), len(ids) + len(words)))
            ids += [*words, SPECIAL["."]]
        ids.append(SPECIAL["[SEP]"])
        weights = torch.zeros(len(phrases), len(ids))
        for index, (start, end) in enumerate(spans):
            weights[index, start:end] = 1.0
        return cls(phrases, torch.tensor(ids), weights)


def bert_tokenizer() -> Any:
    """A `BertTokenizer` over the world's words; special tokens have the numbers of bert-base-uncased."""
    from transformers import BertTokenizer

    tokens = [f"[unused{index}]" for index in range(max(SPECIAL.values()) + 1)]
    for token, index in SPECIAL.items():
        tokens[index] = token
    free = [index for index, token in enumerate(tokens) if token.startswith("[unused")]
    words = sorted(_words() - set(SPECIAL))
    for index, word in zip(free, words, strict=False):
        tokens[index] = word
    tokens += words[len(free) :]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.txt"
        file.write_text("\n".join(tokens) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(vocab=str(file), do_lower_case=True)
    return tokenizer


def _words() -> set[str]:
    phrases = [*NAMES, *(concept.plural for concept in CONCEPTS), *(concept.singular for concept in CONCEPTS)]
    return {word for phrase in phrases for word in phrase.split()} | {
        *COLOURS,
        *BACKGROUNDS,
        *NUMBERS,
        "a",
        "an",
        "the",
    }
