"""Random-weight Stable Diffusion checkpoints of the true architecture, small enough for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHANNELS = (32, 64)
TEXT_WIDTH = 32
SIDE = 64
"""What the tiny pipelines paint at: 32 latent cells of 2 pixels."""


def byte_level_tokenizer() -> Any:
    """CLIP's tokenizer without merges: every byte is a word piece, so any text can be read."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=24)


def text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def unet(in_channels: int = 4) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=in_channels,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )


def vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIDE,
    )


def components(in_channels: int = 4) -> dict[str, Any]:
    """What a Stable Diffusion pipeline is made of, with seeded random weights."""
    import torch
    from diffusers import PNDMScheduler

    torch.manual_seed(0)
    tokenizer = byte_level_tokenizer()
    return {
        "vae": vae(),
        "text_encoder": text_encoder(tokenizer),
        "tokenizer": tokenizer,
        "unet": unet(in_channels),
        "scheduler": PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def save_pipeline(pipeline: str, folder: Path, in_channels: int = 4, **more: Any) -> str:
    """Write a whole pipeline; gives the checkpoint to configure."""
    import diffusers

    getattr(diffusers, pipeline)(**components(in_channels), **more).save_pretrained(folder)
    return str(folder)


def controlnet() -> Any:
    """A ControlNet for `unet`, its zero convolutions filled so that the map shows in the picture."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(1)
    made = ControlNetModel.from_unet(unet(), conditioning_embedding_out_channels=(8, 16))
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return made
