"""CLIP's tokenizer with the embedded world's words as single tokens; other text falls apart into bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from services.embedded.training.byte_pairs import byte_pair_merges
from services.embedded.world.concepts import COLOURS, CONCEPTS
from services.embedded.world.language import NUMBERS, PLACES

LONGEST = 32
"""Tokens of a prompt, start and end included; the rest is cut off."""

_WORD_END = "</w>"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_BETWEEN = """
    a an the and of to in on at with for by left right there is are picture this shows can be seen nothing
    make turn change show put set add move flood paint color give replace swap exchange remove please you i want
    it day into scene season as if were let look like what would under sky stars leaves water everything sea place
    instead should one that me see all object background remove fill
"""


def clip_tokenizer() -> Any:
    """A `CLIPTokenizer`; the same world gives the same tokens."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = sorted(bytes_to_unicode().values())
    merges = _world_merges()
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LONGEST)


@cache
def _world_merges() -> list[tuple[str, str]]:
    return merges_of(world_words())


def merges_of(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges after which each word is one token."""
    return byte_pair_merges([[*word[:-1], word[-1] + _WORD_END] for word in words])


def world_words() -> list[str]:
    """Every word that captions and instructions are made of, sorted."""
    phrases = [form for concept in CONCEPTS for form in (concept.name, concept.singular, concept.plural)]
    phrases += [way for ways in PLACES.values() for way in ways]
    phrases += [*COLOURS, *NUMBERS, _BETWEEN]
    return sorted(set(re.findall(r"[a-z]+", " ".join(phrases).lower())))


def token_ids(tokenizer: Any, prompts: list[str]) -> Any:
    """[prompts, LONGEST] as the pipelines of diffusers make them."""
    encoded = tokenizer(prompts, padding="max_length", max_length=LONGEST, truncation=True, return_tensors="pt")
    return encoded.input_ids
