"""The embedded BLIP-2's tokenizer: byte-level pairs like OPT's, in lowercase; the world's words are single tokens."""

from __future__ import annotations

import re
from typing import Any

from services.embedded.training.byte_pairs import byte_pair_merges
from services.embedded.training.diffusion.prompts import world_words
from services.embedded.world.concepts import CONCEPTS
from services.embedded.world.signs import WORDS

PAD, END, IMAGE = "<pad>", "</s>", "<image>"
"""As in OPT, the same token starts and ends a text."""

_SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"
"""How byte-level tokens write the space before a word."""
_ASKED = """
    question answer how many are there in the picture image photo count what which color colour does have do you see is
    where to left right of or larger smaller bigger scene background written on sign say read says objects things
    middle at top bottom none yes no who when why can could tell me describe any some animal animals food vehicle plant
    building instrument object
"""


def opt_tokenizer() -> Any:
    """A fast tokenizer; the same world gives the same tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    # A word on a sign may follow a quotation mark, all others follow a space.
    words = [f"{_SPACE}{word}" for word in ('"', *_words())] + sorted({word.lower() for word in WORDS})
    merges = byte_pair_merges(words)
    tokens = [PAD, END, IMAGE, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, vocabulary[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        bos_token=END,
        eos_token=END,
        additional_special_tokens=[AddedToken(IMAGE, normalized=False, special=True)],
    )


def _words() -> list[str]:
    text = " ".join([_ASKED, *(concept.category for concept in CONCEPTS)])
    return sorted({*world_words(), *re.findall(r"[a-z]+", text), *(word.lower() for word in WORDS)})
