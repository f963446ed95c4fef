"""A random Grounding DINO with a ResNet, like the embedded one, that sees 64 pixels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

WORDS = ["a", "red", "yellow", "girl", "boy", "cart", "horse", "dog", "cat", "boat", "on", "the", "and", ","]
NUMBERED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
TOKENS_MAX = 24


def make(folder: Path) -> str:
    import torch
    from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessor, GroundingDinoProcessor

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = GroundingDinoForObjectDetection(make_config(len(tokenizer)))
    scatter(model)
    model.save_pretrained(folder)
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)
    return str(folder)


def make_config(words: int) -> Any:
    from transformers import BertConfig, GroundingDinoConfig, ResNetConfig

    return GroundingDinoConfig(
        backbone_config=ResNetConfig(
            embedding_size=16,
            hidden_sizes=[16, 16, 32, 32],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=words,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
        ),
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_feature_levels=3,
        num_queries=20,
        max_text_len=TOKENS_MAX,
        disable_custom_kernels=True,
    )


def scatter(model: Any) -> None:
    """Weights that make boxes and words differ from picture to picture, with scores around one half."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                scale = 0.3 if "bbox_embed" in name else 1.0
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise * scale / max(1, weight[0].numel()) ** 0.5)
        for name, weight in model.named_parameters():
            if name.endswith(("vision_param", "text_param")):
                weight.fill_(1.0)
        # A logit is a product of two layer-normed vectors: small on the text's side keeps it near 0.
        model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after.weight.fill_(0.1)


def make_tokenizer() -> Any:
    """BERT's numbers for the special tokens, which transformers' model has written in, and a few words."""
    from transformers import BertTokenizer

    tokens = [f"[unused{index}]" for index in range(max(NUMBERED.values()) + 1)]
    for token, number in NUMBERED.items():
        tokens[number] = token
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.txt"
        file.write_text("\n".join([*tokens, *WORDS, "##s"]) + "\n", encoding="utf-8")
        return BertTokenizer(vocab=str(file), do_lower_case=True)
