"""Configs, tokenizer and chat template of a converted checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from planner.conversion.source import ConversionError, read_json

Turns = Literal["v0", "v1"]
IMAGE_TOKEN = "<image>"

_SYSTEM = (
    "A chat between a curious {person} and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the {person}'s questions."
)
_CONTENT = (
    "{{%- if message['content'] is string -%}}{{{{ message['content'] }}}}{{%- else -%}}"
    "{{%- for part in message['content'] -%}}{{%- if part['type'] == 'image' -%}}"
    "{{{{ '{image}\\n' }}}}{{%- else -%}}{{{{ part['text'] }}}}{{%- endif -%}}{{%- endfor -%}}{{%- endif -%}}"
)
# Vicuna's two forms, as the reference implementation's serving writes them. A system message replaces the stock one.
_V0 = (
    "{{%- if messages[0]['role'] == 'system' -%}}{{{{ messages[0]['content'] }}}}"
    "{{%- set messages = messages[1:] -%}}{{%- else -%}}{system}{{%- endif -%}}{{{{ '###' }}}}"
    "{{%- for message in messages -%}}"
    "{{{{ 'Assistant: ' if message['role'] == 'assistant' else 'Human: ' }}}}{content}{{{{ '###' }}}}"
    "{{%- endfor -%}}{{%- if add_generation_prompt -%}}{{{{ 'Assistant:' }}}}{{%- endif -%}}"
)
_V1 = (
    "{{%- if messages[0]['role'] == 'system' -%}}{{{{ messages[0]['content'] }}}}"
    "{{%- set messages = messages[1:] -%}}{{%- else -%}}{system}{{%- endif -%}}{{{{ ' ' }}}}"
    "{{%- for message in messages -%}}"
    "{{{{ 'ASSISTANT: ' if message['role'] == 'assistant' else 'USER: ' }}}}{content}"
    "{{{{ '</s>' if message['role'] == 'assistant' else ' ' }}}}"
    "{{%- endfor -%}}{{%- if add_generation_prompt -%}}{{{{ 'ASSISTANT:' }}}}{{%- endif -%}}"
)

_LARGE = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "openai/clip-vit-large-patch14": _LARGE | {"image_size": 224},
    "openai/clip-vit-large-patch14-336": _LARGE | {"image_size": 336},
}
"""Geometry of the towers that the published checkpoints name, for those that hold the tower's weights themselves."""

_TEXT_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "tie_word_embeddings",
)


def chat_template(turns: Turns, marks: bool) -> str:
    """Vicuna's turns; `marks` writes `<im_start>` and `<im_end>` around a picture, where the model learned them."""
    image = f"<im_start>{IMAGE_TOKEN}<im_end>" if marks else IMAGE_TOKEN
    form, person = (_V0, "human") if turns == "v0" else (_V1, "user")
    return form.format(system=_SYSTEM.format(person=person), content=_CONTENT.format(image=image))


def turns_of(folder: Path) -> Turns:
    """Which of the two forms a checkpoint was trained on, from its name: its config does not say.

    Raises:
        ConversionError: the name does not tell.
    """
    name = folder.resolve().name.lower()
    found: list[Turns] = [turns for turns in ("v0", "v1") if turns in name]
    if len(found) != 1:
        raise ConversionError(f"Whether {folder.name} writes Vicuna's turns as v0 or v1 is not known: say --turns.")
    return found[0]


def tokenizer_for(folder: Path, config: dict[str, Any]) -> Any:
    """The checkpoint's tokenizer with the tokens that the reference adds when it loads it, and `<image>`.

    Raises:
        ConversionError: the folder has no tokenizer that can be loaded.
    """
    from transformers import AddedToken, LlamaTokenizer

    try:
        tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ConversionError(f"The tokenizer in {folder} cannot be loaded: {first}") from None
    wanted = ["<im_patch>"] if config.get("mm_use_im_patch_token", True) else []
    wanted += ["<im_start>", "<im_end>"] if config.get("mm_use_im_start_end", False) else []
    for text in [*wanted, IMAGE_TOKEN]:
        tokenizer.add_tokens([AddedToken(text, special=True, normalized=False)], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token
    return tokenizer


def tower_config(tower: Path | None, name: str) -> dict[str, Any]:
    """The vision tower's geometry: from its folder, or by its name where the checkpoint holds the weights.

    Raises:
        ConversionError: neither tells.
    """
    if tower is None:
        if name not in KNOWN_TOWERS:
            raise ConversionError(f"The vision tower {name!r} is not known: name a folder with it (--vision-tower).")
        return KNOWN_TOWERS[name]
    from transformers import CLIPVisionConfig

    config = read_json(tower / "config.json")
    if config.get("model_type") not in ("clip", "clip_vision_model"):
        raise ConversionError(f"{tower} holds a {config.get('model_type')!r} model, not a CLIP model.")
    made: dict[str, Any] = CLIPVisionConfig.from_pretrained(tower, local_files_only=True).to_dict()
    return made


def llava_config(original: dict[str, Any], vision: dict[str, Any], tokenizer: Any, rows: int, layers: int) -> Any:
    """The `LlavaConfig` of the converted model.

    Args:
        original: the checkpoint's own config.
        rows: of the embeddings.
        layers: of the original's projector, 1 or 2.

    Raises:
        ConversionError: the original chooses picture features in a way that transformers has no setting for.
    """
    from transformers import LlavaConfig

    feature = original.get("mm_vision_select_feature", "patch")
    if feature not in ("patch", "cls_patch"):
        raise ConversionError(f"mm_vision_select_feature is {feature!r}: only 'patch' and 'cls_patch' are known.")
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {key: original[key] for key in _TEXT_KEYS if original.get(key) is not None} | ids
    return LlavaConfig(
        text_config={"model_type": "llama", "vocab_size": rows} | text,
        vision_config={key: value for key, value in vision.items() if key not in ("dtype", "architectures")},
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        projector_hidden_act="relu" if layers == 1 else "gelu",
        vision_feature_layer=original.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="default" if feature == "patch" else "full",
        tie_word_embeddings=bool(original.get("tie_word_embeddings", False)),
        architectures=["LlavaForConditionalGeneration"],
        **ids,
    )


def write(
    target: Path, config: Any, dtype: str, tokenizer: Any, template: str, tower: Path | None, original: dict[str, Any]
) -> None:
    """Write config.json, generation_config.json, tokenizer, picture preprocessing and chat template."""
    from transformers import CLIPImageProcessor, LlavaImageProcessor, LlavaProcessor

    data = config.to_dict() | {"dtype": dtype}
    for part in ("text_config", "vision_config"):
        data[part]["dtype"] = dtype
    (target / "config.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    stops = {key: data[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (target / "generation_config.json").write_text(json.dumps(stops, indent=2) + "\n", encoding="utf-8")
    side = config.vision_config.image_size
    settings: dict[str, Any] = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    if tower is not None and (tower / "preprocessor_config.json").is_file():
        stored = read_json(tower / "preprocessor_config.json")
        keys = ("size", "crop_size", "image_mean", "image_std", "resample", "do_center_crop")
        settings |= {key: stored[key] for key in keys if key in stored}
    padded = original.get("image_aspect_ratio") == "pad"
    pictures = LlavaImageProcessor(do_pad=True, **settings) if padded else CLIPImageProcessor(**settings)
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        chat_template=template,
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    ).save_pretrained(target)
