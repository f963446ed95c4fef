"""The networks of a tiny Stable Diffusion, and pipelines made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LATENT_CHANNELS = 4
CELL = 4
"""Pixels of a side that one latent cell covers."""
TEXT_WIDTH = 128
UNET_WIDTHS = (64, 128, 192)
# Groups of normalisation are few: with less than 8 channels a group, PyTorch's backward pass on a CPU is up to ten
# times slower than with more.
VAE_GROUPS, UNET_GROUPS = 4, 8


def build_vae(side: int) -> Any:
    """`AutoencoderKL`: a cell of 4x4 pixels becomes 4 numbers."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=VAE_GROUPS,
        sample_size=side,
        # Attention over all cells costs more than all else on large pictures and adds nothing to flat sprites.
        mid_block_add_attention=False,
    )


def load_vae(folder: Path) -> Any:
    """The trained autoencoder, frozen."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    return vae.to(memory_format=torch.channels_last)


def build_text_encoder(tokenizer: Any) -> Any:
    """CLIP's text transformer with one token a word; it learns together with the UNet."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(side: int, in_channels: int = LATENT_CHANNELS) -> Any:
    """`UNet2DConditionModel` for pictures of `side` pixels; the prompt is attended to at the coarsest level."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=side // CELL,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        block_out_channels=UNET_WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=UNET_GROUPS,
    )


def grown_unet(trained: Any, side: int, in_channels: int) -> Any:
    """A copy of a trained UNet that takes further input channels, which it does not look at yet."""
    grown = build_unet(side, in_channels)
    weights = trained.state_dict()
    first = torch.zeros_like(grown.conv_in.weight)
    first[:, : trained.conv_in.weight.shape[1]] = weights["conv_in.weight"]
    grown.load_state_dict(weights | {"conv_in.weight": first})
    return grown


def scheduler() -> Any:
    """Noise up to nothing but noise, and velocity as what the network says: backgrounds fill the whole picture, and
    their brightness must not shine through at the last step of noising."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # trailing timesteps have no offset, but the pipelines insist on it
    )


def made_quick(unet: Any) -> Any:
    """The network laid out for training: channels last, and on a CPU attention in its plain form, which trains several
    times faster there than PyTorch's fused one."""
    from diffusers.models.attention_processor import AttnProcessor

    if not torch.cuda.is_available():
        unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def make_pipeline(name: str, **components: Any) -> Any:
    """A pipeline of diffusers with our scheduler, without what the embedded world does not need."""
    import diffusers

    pipe = getattr(diffusers, name)(
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **components,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
