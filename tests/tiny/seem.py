from __future__ import annotations

from pathlib import Path

SIDE = 32


def make(folder: Path) -> str:
    """A SegGPT with random weights that sees pictures of 32x32 pixels in patches of 8."""
    import torch
    from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

    torch.manual_seed(0)
    config = SegGptConfig(
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=(2 * SIDE, SIDE),
        patch_size=8,
        pretrain_image_size=SIDE,
        decoder_hidden_size=8,
        merge_index=1,
        intermediate_hidden_state_indices=(2, 3),
        initializer_range=0.2,
    )
    SegGptForImageSegmentation(config).save_pretrained(folder)
    SegGptImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return str(folder)
