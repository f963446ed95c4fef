from __future__ import annotations

from pathlib import Path

TAGS = ("beach", "cat", "dog", "night", "rain", "tree")


def make(folder: Path) -> str:
    """A RAM with 6 tags and random weights that sees pictures at 64 pixels; any picture is a beach, none is rain."""
    import torch

    from services.models.ram.checkpoint import save_pretrained
    from services.models.ram.config import RamConfig, SwinConfig
    from services.models.ram.model import Ram
    from services.models.ram.vocabulary import Vocabulary

    torch.manual_seed(0)
    config = RamConfig(
        image_size=64,
        swin=SwinConfig(embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4),
        num_tags=len(TAGS),
        label_dim=24,
        hidden_size=32,
        intermediate_size=64,
    )
    vocabulary = Vocabulary.of(TAGS, (0.0, 0.5, 0.5, 0.5, 1.0, 0.5))
    save_pretrained(Ram(config), vocabulary, folder)
    return str(folder)
