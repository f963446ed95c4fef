"""A whole LLaVA of a few thousand random weights, in a folder as `from_pretrained` and vLLM load it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIDE, PATCH = 28, 14
PICTURE_TOKENS = (SIDE // PATCH) ** 2
IMAGE_ID, STOP_ID = 258, 257


def tokenizer() -> Any:
    """One token a byte, ChatML's marks and `<image>`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from planner.language_model import CHAT_TEMPLATE

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<|im_start|>", "<|im_end|>", "<image>")]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def write(folder: Path, *, hidden: int = 32, layers: int = 2, heads: int = 2) -> Path:
    """Write the model; the same every time."""
    import torch
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    from planner.train.export import vllm_name

    torch.manual_seed(1)
    text = tokenizer()
    config = LlavaConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": 260,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "max_position_embeddings": 4096,
            "eos_token_id": STOP_ID,
            "pad_token_id": STOP_ID,
        },
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": 3,
            "num_attention_heads": heads,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        image_token_index=IMAGE_ID,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        eos_token_id=STOP_ID,
        pad_token_id=STOP_ID,
        architectures=["LlavaForConditionalGeneration"],
        dtype="float32",
    )
    from safetensors.torch import save_file

    model: Any = LlavaForConditionalGeneration(config)
    folder.mkdir(parents=True, exist_ok=True)
    state = {vllm_name(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    model.generation_config.eos_token_id = STOP_ID
    model.generation_config.pad_token_id = STOP_ID
    model.generation_config.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size=square, crop_size=square),
        tokenizer=text,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=text.chat_template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


@contextmanager
def served(folder: Path, redis_url: str, **engine: Any) -> Iterator[Any]:
    """The deployment's class in this process, with the model of `folder`/model and room for two adapters.

    Args:
        engine: further settings of the engine.
    """
    from planner.engine import PlannerServer

    before = dict(os.environ)
    config = {
        "model": str(write(folder / "model", hidden=64)),
        "dtype": "float32",
        "kv_cache_bytes": 16 * 2**20,
        "adapters_max": 2,
        "adapter_rank_max": 8,
        "single_process": True,
        "env": {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"},
    }
    server = PlannerServer(config | engine, redis_url)
    try:
        yield server
    finally:
        server.__del__()
        os.environ.clear()
        os.environ.update(before)
