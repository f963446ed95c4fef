"""LLaVA's original computation, written from the papers in plain tensor operations, and small checkpoints for it.

The names are those of the published checkpoints; nothing here uses a model class of transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

State = dict[str, torch.Tensor]

HIDDEN, INNER, LAYERS, HEADS, ROWS = 64, 96, 3, 4, 300
VISION, VISION_INNER, VISION_LAYERS, VISION_HEADS, SIDE, PATCH = 32, 48, 3, 2, 28, 14
PATCHES = (SIDE // PATCH) ** 2

CONFIG = {
    "model_type": "llava",
    "architectures": ["LlavaLlamaForCausalLM"],
    "vocab_size": ROWS,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 0,  # as in early LLaMA conversions: wrong, and not to be trusted
    "eos_token_id": 1,
    "mm_vision_tower": "openai/clip-vit-large-patch14",
    "mm_vision_select_layer": -2,
    "mm_hidden_size": VISION,
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
}


def language_state(rows: int = ROWS) -> State:
    state = {"model.embed_tokens.weight": torch.randn(rows, HIDDEN), "lm_head.weight": torch.randn(rows, HIDDEN) * 0.1}
    state["model.norm.weight"] = 1 + 0.1 * torch.randn(HIDDEN)
    shapes = {f"self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN), "mlp.down_proj": (HIDDEN, INNER)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in shapes.items():
            state[f"{prefix}{name}.weight"] = torch.randn(shape) * 0.1
        for name in ("input_layernorm", "post_attention_layernorm"):
            state[f"{prefix}{name}.weight"] = 1 + 0.1 * torch.randn(HIDDEN)
        state[f"{prefix}self_attn.rotary_emb.inv_freq"] = torch.ones(HIDDEN // HEADS // 2)
    return state


def projector_state(layers: int) -> State:
    first = {"weight": torch.randn(HIDDEN, VISION) * 0.2, "bias": torch.randn(HIDDEN) * 0.1}
    if layers == 1:
        return {f"model.mm_projector.{name}": tensor for name, tensor in first.items()}
    second = {"weight": torch.randn(HIDDEN, HIDDEN) * 0.2, "bias": torch.randn(HIDDEN) * 0.1}
    return {f"model.mm_projector.0.{name}": tensor for name, tensor in first.items()} | {
        f"model.mm_projector.2.{name}": tensor for name, tensor in second.items()
    }


def tower_state() -> State:
    state = {
        "embeddings.class_embedding": torch.randn(VISION),
        "embeddings.patch_embedding.weight": torch.randn(VISION, 3, PATCH, PATCH) * 0.05,
        "embeddings.position_embedding.weight": torch.randn(PATCHES + 1, VISION) * 0.2,
        "embeddings.position_ids": torch.arange(PATCHES + 1)[None],
    }
    for name in ("pre_layrnorm", "post_layernorm"):
        state |= {f"{name}.weight": 1 + 0.1 * torch.randn(VISION), f"{name}.bias": 0.1 * torch.randn(VISION)}
    shapes = {f"self_attn.{name}_proj": (VISION, VISION) for name in ("q", "k", "v", "out")}
    shapes |= {"mlp.fc1": (VISION_INNER, VISION), "mlp.fc2": (VISION, VISION_INNER)}
    for layer in range(VISION_LAYERS):
        prefix = f"encoder.layers.{layer}."
        for name, shape in shapes.items():
            state |= {f"{prefix}{name}.weight": torch.randn(shape) * 0.2, f"{prefix}{name}.bias": torch.randn(shape[0])}
        for name in ("layer_norm1", "layer_norm2"):
            state |= {
                f"{prefix}{name}.weight": 1 + 0.1 * torch.randn(VISION),
                f"{prefix}{name}.bias": torch.randn(VISION),
            }
    return {f"vision_model.{name}": tensor for name, tensor in state.items()}


def tower_folder(folder: Path, state: State) -> Path:
    """A whole CLIP model's folder: with its text side, which LLaVA has no use for."""
    folder.mkdir()
    vision = {
        "hidden_size": VISION,
        "intermediate_size": VISION_INNER,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": VISION_HEADS,
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_act": "quick_gelu",
        "projection_dim": VISION,
    }
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": vision}))
    crop = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(crop | {"image_mean": [0.5, 0.4, 0.3]}))
    others = {"text_model.final_layer_norm.bias": torch.zeros(4), "logit_scale": torch.tensor(1.0)}
    torch.save(state | others, folder / "pytorch_model.bin")
    return folder


def checkpoint_folder(folder: Path, state: State, files: int = 2, **config: Any) -> Path:
    """A checkpoint in `files` PyTorch files with an index, and a tokenizer of 256 pieces."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    names = sorted(state)
    shards = [f"pytorch_model-{number:05}-of-{files:05}.bin" for number in range(1, files + 1)]
    weight_map = {name: shards[index % files] for index, name in enumerate(names)}
    for shard in shards:
        torch.save({name: state[name] for name in names if weight_map[name] == shard}, folder / shard)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """LLaMA's kind of tokenizer, in its original file: SentencePiece, bytes for what it does not know."""
    import sentencepiece

    text = ["A chat between a curious human and an artificial intelligence assistant.", "What is shown? A red cart."]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text * 20),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=ROWS - 4,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def picture_features(tower: State, pixels: torch.Tensor, layer: int = -2, first: int = 1) -> torch.Tensor:
    """What LLaVA takes from CLIP: the states after all but the last layer, without the class token.

    Args:
        pixels: [pictures, 3, side, side].
        layer: index into the states, of which there is one more than layers.
        first: 1 leaves the class token out.
    """
    w = {name.removeprefix("vision_model."): tensor for name, tensor in tower.items()}
    patches = functional.conv2d(pixels, w["embeddings.patch_embedding.weight"], stride=PATCH).flatten(2).mT
    marks = w["embeddings.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([marks, patches], dim=1) + w["embeddings.position_embedding.weight"]
    x = functional.layer_norm(x, (VISION,), w["pre_layrnorm.weight"], w["pre_layrnorm.bias"])
    states = [x]
    for number in range(VISION_LAYERS):
        p = f"encoder.layers.{number}."

        def linear(value: torch.Tensor, name: str, p: str = p) -> torch.Tensor:
            return functional.linear(value, w[f"{p}{name}.weight"], w[f"{p}{name}.bias"])

        h = functional.layer_norm(x, (VISION,), w[f"{p}layer_norm1.weight"], w[f"{p}layer_norm1.bias"])
        q, k, v = (_heads(linear(h, f"self_attn.{name}_proj"), VISION_HEADS) for name in "qkv")
        scores = q @ k.mT / (VISION // VISION_HEADS) ** 0.5
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), "self_attn.out_proj")
        h = linear(
            functional.layer_norm(x, (VISION,), w[f"{p}layer_norm2.weight"], w[f"{p}layer_norm2.bias"]), "mlp.fc1"
        )
        x = x + linear(h * torch.sigmoid(1.702 * h), "mlp.fc2")
        states.append(x)
    return states[layer][:, first:]


def projected(state: State, features: torch.Tensor) -> torch.Tensor:
    """The projector: one linear layer, or two with a GELU between."""
    p = "model.mm_projector."
    if f"{p}weight" in state:
        return functional.linear(features, state[f"{p}weight"], state[f"{p}bias"])
    inner = functional.gelu(functional.linear(features, state[f"{p}0.weight"], state[f"{p}0.bias"]))
    return functional.linear(inner, state[f"{p}2.weight"], state[f"{p}2.bias"])


def spliced(state: State, before: list[int], pictures: torch.Tensor, after: list[int]) -> torch.Tensor:
    """Embeddings [1, tokens, hidden]: the picture's rows stand between the text's."""
    table = state["model.embed_tokens.weight"]
    return torch.cat([table[before], pictures[0], table[after]])[None]


def language_states(state: State, x: torch.Tensor) -> list[torch.Tensor]:
    """The states before the first layer and after each, and the logits, of embeddings x [1, tokens, hidden]."""
    states = [x]
    length, size = x.shape[1], HIDDEN // HEADS
    angles = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, size, 2) / size))
    cos, sin = (torch.cat([turn, turn], dim=-1) for turn in (angles.cos(), angles.sin()))
    causal = torch.full((length, length), float("-inf")).triu(1)
    for number in range(LAYERS):
        w = {
            name.removeprefix(f"model.layers.{number}."): tensor
            for name, tensor in state.items()
            if name.startswith(f"model.layers.{number}.")
        }
        h = _rms(x, w["input_layernorm.weight"])
        q, k, v = (_heads(h @ w[f"self_attn.{name}_proj.weight"].mT, HEADS) for name in "qkv")
        q, k = (one * cos + _turned(one) * sin for one in (q, k))
        mixed = (q @ k.mT / size**0.5 + causal).softmax(-1) @ v
        x = x + mixed.transpose(1, 2).flatten(2) @ w["self_attn.o_proj.weight"].mT
        h = _rms(x, w["post_attention_layernorm.weight"])
        inner = functional.silu(h @ w["mlp.gate_proj.weight"].mT) * (h @ w["mlp.up_proj.weight"].mT)
        x = x + inner @ w["mlp.down_proj.weight"].mT
        states.append(x)
    return [*states, _rms(x, state["model.norm.weight"]) @ state["lm_head.weight"].mT]


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _turned(x: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat([-right, left], dim=-1)


def _rms(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight
