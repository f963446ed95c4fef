"""A random CLIP with an index of a few facts inside its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = "a an the picture photo of on in boat fox beach snow city red green blue"
FACTS = ("a boat on the beach", "a red fox in the snow", "the city", "a green boat", "a blue picture")
OPTIONS: dict[str, Any] = {}


def make(folder: Path) -> str:
    from services.retrieval.builder import IndexBuilder
    from services.retrieval.entries import Entry

    make_clip(folder)
    facts = [Entry(fact, source="facts") for fact in FACTS]
    IndexBuilder(folder / "index", encoder(folder), "tiny").run(facts, len(facts))
    return str(folder)


def encoder(folder: Path) -> Any:
    from services.retrieval.encoder import ClipEncoder

    return ClipEncoder(str(folder), lambda model: model.eval(), lambda pixels: pixels)


def make_clip(folder: Path, seed: int = 0) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={**tower, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 16},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=32,
    )
    model = CLIPModel(config)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.normal_(std=0.2)  # large enough that vectors of different things differ
    model.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPProcessor(CLIPImageProcessor(**sizes), tokenizer).save_pretrained(folder)


def make_tokenizer() -> Any:
    """Words between the marks that CLIP expects, padded with the end mark as CLIP does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    start, end, unknown = "<|startoftext|>", "<|endoftext|>", "<unk>"
    vocabulary = {word: index for index, word in enumerate([start, end, unknown, *WORDS.split()])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=start, eos_token=end, pad_token=end, unk_token=unknown
    )
