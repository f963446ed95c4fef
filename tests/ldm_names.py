"""Names that Stable Diffusion's and ControlNet's original files give to weights, from diffusers' names.

Used to write single-file checkpoints in the original layout, tiny or at full size, for tests of their loading.
"""

from __future__ import annotations

import re
from typing import Any

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer.text_model."
CONTROL = "control_model."

_HEADS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
    "controlnet_mid_block": "middle_block_out.0",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def unet_name(name: str, layers: int, attended: set[int]) -> str:
    """The original name of a weight of a UNet or ControlNet.

    Args:
        layers: residual blocks on each level of the way down.
        attended: levels of the way up that have attention.
    """
    level = r"\.(\d+)"
    if found := re.match(rf"down_blocks{level}\.(resnets|attentions){level}\.(.*)", name):
        block, kind, layer, rest = found.groups()
        number = (layers + 1) * int(block) + 1 + int(layer)
        return f"input_blocks.{number}.{_inner(kind, rest)}"
    if found := re.match(rf"down_blocks{level}\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{(layers + 1) * (int(found[1]) + 1)}.0.op.{found[2]}"
    if found := re.match(rf"up_blocks{level}\.(resnets|attentions){level}\.(.*)", name):
        block, kind, layer, rest = found.groups()
        return f"output_blocks.{(layers + 1) * int(block) + int(layer)}.{_inner(kind, rest)}"
    if found := re.match(rf"up_blocks{level}\.upsamplers\.0\.(.*)", name):
        place = 2 if int(found[1]) in attended else 1
        return f"output_blocks.{(layers + 1) * int(found[1]) + layers}.{place}.{found[2]}"
    if found := re.match(rf"controlnet_down_blocks{level}\.(.*)", name):
        return f"zero_convs.{found[1]}.0.{found[2]}"
    if found := re.match(rf"controlnet_cond_embedding\.blocks{level}\.(.*)", name):
        return f"input_hint_block.{2 * int(found[1]) + 2}.{found[2]}"
    head = next(head for head in _HEADS if name.startswith(head + "."))
    rest = name.removeprefix(head + ".")
    if ".resnets." in f".{head}.":
        rest = _renamed(rest, _RESNET)
    return f"{_HEADS[head]}.{rest}"


def _inner(kind: str, rest: str) -> str:
    return f"0.{_renamed(rest, _RESNET)}" if kind == "resnets" else f"1.{rest}"


def _renamed(rest: str, names: dict[str, str]) -> str:
    part, _, kind = rest.rpartition(".")
    return f"{names[part]}.{kind}"


def vae_name(name: str, levels: int) -> str:
    """The original name of a weight of the autoencoder."""
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda found: f"up.{levels - 1 - int(found[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for new, old in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
            name = name.replace(f".{new}.", f".{old}.")
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def original_unet(model: Any, prefix: str = UNET) -> dict[str, Any]:
    """The state dict of a UNet or ControlNet under its original names."""
    config = model.config
    attended = {level for level, kind in enumerate(config.get("up_block_types", ())) if "Attn" in kind}
    return {
        prefix + unet_name(name, config.layers_per_block, attended): value for name, value in model.state_dict().items()
    }


def original_vae(model: Any) -> dict[str, Any]:
    """The autoencoder's state dict under its original names; its attention was of 1x1 convolutions."""
    named = {
        VAE + vae_name(name, len(model.config.block_out_channels)): value for name, value in model.state_dict().items()
    }
    return {
        name: value[:, :, None, None] if ".attn_1." in name and value.dim() == 2 else value
        for name, value in named.items()
    }


def original_text(model: Any) -> dict[str, Any]:
    """The text encoder's state dict under its original names, with the positions that older files carry."""
    import torch

    named = {TEXT + name: value for name, value in model.state_dict().items()}
    positions = torch.arange(model.config.max_position_embeddings)[None]
    return named | {TEXT + "embeddings.position_ids": positions}
