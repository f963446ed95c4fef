"""The names and shapes of the tensors in IDEA-Research/GroundingDINO's own files, written down as rules.

Checked against the original model built from its code: every name and shape of both published variants.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """What the project's config files, Swin's and BERT's say."""

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    hidden_dim: int = 256
    dim_feedforward: int = 2048
    layers: int = 6
    num_queries: int = 900
    levels: int = 4
    points: int = 4
    nheads: int = 8
    bert_width: int = 768
    bert_layers: int = 12
    bert_ffn: int = 3072
    bert_vocabulary: int = 30522
    bert_positions: int = 512


SWIN_T_OGC = Variant()
SWIN_B_COGCOOR = Variant(embed_dim=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12)
SMALL = Variant(
    embed_dim=24,
    depths=(2, 2, 2, 2),
    heads=(1, 2, 4, 8),
    window=4,
    dim_feedforward=64,
    layers=2,
    num_queries=12,
    bert_width=64,
    bert_layers=1,
    bert_ffn=64,
    bert_vocabulary=1100,
    bert_positions=32,
)


def original_shapes(variant: Variant) -> dict[str, Shape]:
    """Every entry of the original's `state_dict`."""
    return dict(_all(variant))


def random_state(variant: Variant) -> dict[str, Any]:
    """Weights that anybody can make again: each tensor is drawn with a seed made from its name."""
    import torch

    state = {}
    for name, shape in original_shapes(variant).items():
        shared = re.sub(r"^(transformer\.decoder\.)?bbox_embed\.\d+", "bbox_embed", name)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(shared.encode())))
        if len(shape) > 1:
            state[name] = noise * (0.3 if "bbox_embed" in name else 1.0) / noise[0].numel() ** 0.5
        else:
            state[name] = 0.1 * noise + (1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0)
    return state


def _all(v: Variant) -> Iterator[tuple[str, Shape]]:
    d = v.hidden_dim
    yield "transformer.level_embed", (v.levels, d)
    yield "transformer.tgt_embed.weight", (v.num_queries, d)
    for layer in range(v.layers):
        yield from _encoder_layer(v, f"transformer.encoder.layers.{layer}.")
        yield from _text_layer(v, f"transformer.encoder.text_layers.{layer}.")
        yield from _fusion_layer(v, f"transformer.encoder.fusion_layers.{layer}.")
        yield from _decoder_layer(v, f"transformer.decoder.layers.{layer}.")
        # The same head under two names, once for each layer.
        yield from _box_head(d, f"transformer.decoder.bbox_embed.{layer}.")
        yield from _box_head(d, f"bbox_embed.{layer}.")
    yield from _norm("transformer.decoder.norm", d)
    yield from _linear("transformer.decoder.ref_point_head.layers.0", 2 * d, d)
    yield from _linear("transformer.decoder.ref_point_head.layers.1", d, d)
    yield from _linear("transformer.enc_output", d, d)
    yield from _norm("transformer.enc_output_norm", d)
    yield from _box_head(d, "transformer.enc_out_bbox_embed.")
    yield from _bert(v)
    yield from _linear("feat_map", v.bert_width, d)
    yield from _swin(v)
    for level in range(v.levels):
        source, kernel = (v.embed_dim * 2 ** (level + 1), 1) if level < 3 else (v.embed_dim * 8, 3)
        yield f"input_proj.{level}.0.weight", (d, source, kernel, kernel)
        yield f"input_proj.{level}.0.bias", (d,)
        yield from _norm(f"input_proj.{level}.1", d)


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    """`torch.nn.MultiheadAttention`."""
    yield f"{name}.in_proj_weight", (3 * width, width)
    yield f"{name}.in_proj_bias", (3 * width,)
    yield from _linear(f"{name}.out_proj", width, width)


def _deformable(v: Variant, name: str) -> Iterator[tuple[str, Shape]]:
    samples = v.nheads * v.levels * v.points
    yield from _linear(f"{name}.sampling_offsets", v.hidden_dim, 2 * samples)
    yield from _linear(f"{name}.attention_weights", v.hidden_dim, samples)
    yield from _linear(f"{name}.value_proj", v.hidden_dim, v.hidden_dim)
    yield from _linear(f"{name}.output_proj", v.hidden_dim, v.hidden_dim)


def _feed_forward(at: str, width: int, inner: int) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{at}linear1", width, inner)
    yield from _linear(f"{at}linear2", inner, width)


def _encoder_layer(v: Variant, at: str) -> Iterator[tuple[str, Shape]]:
    yield from _deformable(v, f"{at}self_attn")
    yield from _norm(f"{at}norm1", v.hidden_dim)
    yield from _feed_forward(at, v.hidden_dim, v.dim_feedforward)
    yield from _norm(f"{at}norm2", v.hidden_dim)


def _text_layer(v: Variant, at: str) -> Iterator[tuple[str, Shape]]:
    yield from _attention(f"{at}self_attn", v.hidden_dim)
    yield from _feed_forward(at, v.hidden_dim, v.dim_feedforward // 2)
    yield from _norm(f"{at}norm1", v.hidden_dim)
    yield from _norm(f"{at}norm2", v.hidden_dim)


def _fusion_layer(v: Variant, at: str) -> Iterator[tuple[str, Shape]]:
    d, inner = v.hidden_dim, v.dim_feedforward // 2
    yield f"{at}gamma_v", (d,)
    yield f"{at}gamma_l", (d,)
    yield from _norm(f"{at}layer_norm_v", d)
    yield from _norm(f"{at}layer_norm_l", d)
    for part in ("v_proj", "l_proj", "values_v_proj", "values_l_proj"):
        yield from _linear(f"{at}attn.{part}", d, inner)
    yield from _linear(f"{at}attn.out_v_proj", inner, d)
    yield from _linear(f"{at}attn.out_l_proj", inner, d)


def _decoder_layer(v: Variant, at: str) -> Iterator[tuple[str, Shape]]:
    yield from _deformable(v, f"{at}cross_attn")
    yield from _attention(f"{at}ca_text", v.hidden_dim)
    yield from _attention(f"{at}self_attn", v.hidden_dim)
    yield from _feed_forward(at, v.hidden_dim, v.dim_feedforward)
    for norm in ("norm1", "catext_norm", "norm2", "norm3"):
        yield from _norm(f"{at}{norm}", v.hidden_dim)


def _box_head(width: int, at: str) -> Iterator[tuple[str, Shape]]:
    yield from _linear(f"{at}layers.0", width, width)
    yield from _linear(f"{at}layers.1", width, width)
    yield from _linear(f"{at}layers.2", width, 4)


def _bert(v: Variant) -> Iterator[tuple[str, Shape]]:
    d = v.bert_width
    yield "bert.embeddings.word_embeddings.weight", (v.bert_vocabulary, d)
    yield "bert.embeddings.position_embeddings.weight", (v.bert_positions, d)
    yield "bert.embeddings.token_type_embeddings.weight", (2, d)
    yield from _norm("bert.embeddings.LayerNorm", d)
    for layer in range(v.bert_layers):
        at = f"bert.encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            yield from _linear(f"{at}attention.self.{part}", d, d)
        yield from _linear(f"{at}attention.output.dense", d, d)
        yield from _norm(f"{at}attention.output.LayerNorm", d)
        yield from _linear(f"{at}intermediate.dense", d, v.bert_ffn)
        yield from _linear(f"{at}output.dense", v.bert_ffn, d)
        yield from _norm(f"{at}output.LayerNorm", d)
    yield from _linear("bert.pooler.dense", d, d)


def _swin(v: Variant) -> Iterator[tuple[str, Shape]]:
    yield "backbone.0.patch_embed.proj.weight", (v.embed_dim, 3, 4, 4)
    yield "backbone.0.patch_embed.proj.bias", (v.embed_dim,)
    yield from _norm("backbone.0.patch_embed.norm", v.embed_dim)
    for stage, (depth, heads) in enumerate(zip(v.depths, v.heads, strict=True)):
        d, at = v.embed_dim * 2**stage, f"backbone.0.layers.{stage}."
        for block in range(depth):
            inside = f"{at}blocks.{block}."
            yield from _norm(f"{inside}norm1", d)
            yield f"{inside}attn.relative_position_bias_table", ((2 * v.window - 1) ** 2, heads)
            yield f"{inside}attn.relative_position_index", (v.window**2, v.window**2)
            yield from _linear(f"{inside}attn.qkv", d, 3 * d)
            yield from _linear(f"{inside}attn.proj", d, d)
            yield from _norm(f"{inside}norm2", d)
            yield from _linear(f"{inside}mlp.fc1", d, 4 * d)
            yield from _linear(f"{inside}mlp.fc2", 4 * d, d)
        if stage < len(v.depths) - 1:
            yield from _linear(f"{at}downsample.reduction", 4 * d, 2 * d, bias=False)
            yield from _norm(f"{at}downsample.norm", 4 * d)
        if stage > 0:
            yield from _norm(f"backbone.0.norm{stage}", d)
