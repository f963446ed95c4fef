"""A trained vision tower's weights in another network's layout: CLIP's in BLIP-2's, BLIP-2's in SegGPT's."""

from __future__ import annotations

from typing import Any

import torch

Weights = dict[str, torch.Tensor]


def blip2_vision_weights(clip: Any, pictures: torch.Tensor) -> Weights:
    """State dict for a `Blip2VisionModel` of the same sizes, with `gelu` and the same epsilon.

    BLIP-2's tower (EVA's) has no normalisation before its first block; CLIP's is folded into the embeddings. For the
    class token that is exact. For patches it is exact but for their lengths, which CLIP makes equal: here the mean
    length on `pictures` stands for all.

    Args:
        clip: a `CLIPVisionModel`.
        pictures: some normalised ones, [n, 3, size, size].
    """
    weights = {name: value.float() for name, value in clip.state_dict().items()}
    moved = _folded_embeddings(weights, pictures)
    for name in ("weight", "bias"):
        moved[f"post_layernorm.{name}"] = weights[f"post_layernorm.{name}"]
    for index in range(clip.config.num_hidden_layers):
        moved |= _block(weights, f"encoder.layers.{index}")
    return moved


def _folded_embeddings(weights: Weights, pictures: torch.Tensor) -> Weights:
    embeddings = "embeddings."
    patch = weights[f"{embeddings}patch_embedding.weight"]
    places = weights[f"{embeddings}position_embedding.weight"]
    gain, shift = weights["pre_layrnorm.weight"], weights["pre_layrnorm.bias"]
    seen = torch.nn.functional.conv2d(pictures, patch, stride=patch.shape[-1]).flatten(2).transpose(1, 2) + places[1:]
    scale = gain / seen.std(-1, unbiased=False).mean()
    folded = scale[:, None] * (places - places.mean(1, keepdim=True)).T
    first = weights[f"{embeddings}class_embedding"] + places[0]
    normalised = torch.nn.functional.layer_norm(first, first.shape, gain, shift)
    return {
        f"{embeddings}patch_embedding.weight": scale[:, None, None, None] * (patch - patch.mean(0)),
        f"{embeddings}patch_embedding.bias": shift,
        f"{embeddings}position_embedding": folded.T[None],
        f"{embeddings}class_embedding": (normalised - folded[:, 0])[None, None],
    }


def _block(weights: Weights, block: str) -> Weights:
    moved = {}
    for kind in ("weight", "bias"):
        parts = [weights[f"{block}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
        moved[f"{block}.self_attn.qkv.{kind}"] = torch.cat(parts)
        moved[f"{block}.self_attn.projection.{kind}"] = weights[f"{block}.self_attn.out_proj.{kind}"]
        for name in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"):
            moved[f"{block}.{name}.{kind}"] = weights[f"{block}.{name}.{kind}"]
    return moved


def spread_places(places: torch.Tensor, side: int) -> torch.Tensor:
    """A vision tower's place embeddings for pictures of another size.

    Args:
        places: [1, 1 + patches, width], the class token's first, patches row by row of a square.
        side: of the new pictures, in patches.

    Returns:
        [1, 1 + side * side, width]; the class token's is kept.
    """
    first, grid = places[:, :1], places[:, 1:]
    before = int(grid.shape[1] ** 0.5)
    if before == side:
        return places
    square = grid.unflatten(1, (before, before)).permute(0, 3, 1, 2)
    spread = torch.nn.functional.interpolate(square, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([first, spread.flatten(2).transpose(1, 2)], dim=1)


def seggpt_weights(tower: Weights, side: int) -> Weights:
    """BLIP-2's vision tower for a `SegGptModel` whose first layers are of the same sizes, relative places at zero.

    SegGPT has one picture above the other, so each half gets the tower's places: its table of places, a square, holds
    them twice below each other and each column twice, since it is shrunk to half its width for the two pictures.
    SegGPT has no class token; what the tower's patches had from it is left out.

    Args:
        tower: a `Blip2VisionModel`'s state dict.
        side: of SegGPT's pictures in patches, over which the tower's places are spread; its `pretrain_image_size` is
            twice as large.

    Returns:
        Some of the `SegGptModel`'s tensors: patch and place embeddings, the layers that the tower has, the final norm.
    """
    embeddings = "embeddings."
    places = spread_places(tower[f"{embeddings}position_embedding"], side)[0]
    grid = places[1:].reshape(side, side, -1).repeat(2, 1, 1).repeat_interleave(2, dim=1)
    moved = {
        f"{embeddings}patch_embeddings.projection.weight": tower[f"{embeddings}patch_embedding.weight"],
        f"{embeddings}patch_embeddings.projection.bias": tower[f"{embeddings}patch_embedding.bias"],
        f"{embeddings}position_embeddings": torch.cat([places[:1], grid.flatten(0, 1)])[None],
    }
    for kind in ("weight", "bias"):
        moved[f"encoder.layernorm.{kind}"] = tower[f"post_layernorm.{kind}"]
    names = {
        "self_attn.qkv": "attention.qkv",
        "self_attn.projection": "attention.proj",
        "layer_norm1": "layernorm_before",
        "layer_norm2": "layernorm_after",
        "mlp.fc1": "mlp.lin1",
        "mlp.fc2": "mlp.lin2",
    }
    for name, value in tower.items():
        if name.startswith("encoder.layers."):
            *block, kind = name.split(".")
            layer, part = ".".join(block[:3]), ".".join(block[3:])
            moved[f"{layer}.{names[part]}.{kind}"] = value
    return {name: value.float() for name, value in moved.items()}
