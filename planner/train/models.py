"""The model of a run: loaded, with what is trained unfrozen and the rest frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.language_model import IMAGE_TOKEN
from planner.train.config import EMBEDDED, ConfigError, TrainConfig

LINEARS = r".*language_model\.layers.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
PROJECTOR = "multi_modal_projector"
ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class Base:
    """A model with what belongs to it.

    Attributes:
        model: a `PlannerNetwork`, or that under PEFT.
        processor: `LlavaProcessor`.
    """

    model: Any
    processor: Any

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @property
    def image_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))

    @property
    def side(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @property
    def picture_tokens(self) -> int:
        config = self.model.config
        whole = config.vision_feature_select_strategy == "full"
        return int((self.side // config.vision_config.patch_size) ** 2 + whole)


def load(config: TrainConfig) -> Base:
    """The base model in fp32 with the configuration's projector and picture features; nothing is frozen yet.

    Raises:
        ConfigError: the model, or the projector to start from, is not there or does not fit.
    """
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    from planner.train.network import PlannerNetwork

    if config.model == EMBEDDED:
        from planner.model import load_model, processor

        assert config.weights is not None
        adapter = config.language != "lora" or config.on_top
        model = load_model(config.weights, adapter=adapter, attention=config.attention)
        made = processor(config.weights)
    else:
        try:
            model = LlavaForConditionalGeneration.from_pretrained(
                config.model, dtype="float32", attn_implementation=config.attention
            )
            made = AutoProcessor.from_pretrained(config.model)
        except (OSError, ValueError) as error:
            raise ConfigError(f"model {config.model}: {str(error).partition(chr(10))[0]}") from None
    if config.vision_layer is not None:
        model.config.vision_feature_layer = config.vision_layer
    _start_projector(model, config)
    return Base(PlannerNetwork.of(model), made)


def prepare(base: Base, config: TrainConfig) -> Base:
    """Freeze all that the configuration does not train, and add the LoRA.

    Frozen weights are kept in bf16 where the run computes in it; trained ones stay in fp32.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    model = base.model
    if config.precision == "bf16" and config.language != "full":
        model.to(torch.bfloat16)
    if config.language == "lora":
        settings = LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            target_modules=LINEARS,
            modules_to_save=[PROJECTOR] if config.projector else None,
        )
        torch.manual_seed(config.seed)
        model = get_peft_model(model, settings)
        if config.lora.start_from is not None:
            _load_adapter(model, config.lora.start_from)
    else:
        freeze(model, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if config.gradient_checkpointing:
        model.enable_input_require_grads()
    model.train()
    return Base(model, base.processor)


def freeze(model: Any, config: TrainConfig) -> None:
    """Leave trainable what a run without LoRA trains; the vision tower never is."""
    for name, parameter in model.named_parameters():
        if "vision_tower" in name:
            parameter.requires_grad = False
        elif PROJECTOR in name:
            parameter.requires_grad = config.projector
        else:
            parameter.requires_grad = config.language == "full"


def counts(model: Any) -> tuple[int, int]:
    """Parameters in all, and those that are trained."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def compile_layers(model: Any, shapes: int) -> None:
    """Compile the language model's layers for rows of fixed lengths.

    Args:
        shapes: how many different ones there are.
    """
    import torch

    torch._dynamo.config.recompile_limit = 4 * shapes
    for name, module in model.named_modules():
        if name.endswith("language_model"):
            for layer in module.layers:
                layer.compile(dynamic=False)


def _start_projector(model: Any, config: TrainConfig) -> None:
    import torch
    from safetensors.torch import load_file

    projector = model.model.multi_modal_projector
    if config.projector_fresh:
        torch.manual_seed(config.seed)
        for layer in (projector.linear_1, projector.linear_2):
            layer.reset_parameters()
    if config.projector_from is None:
        return
    path = config.projector_from
    if not path.is_file():
        raise ConfigError(f"projector_from: {path} is not there: train stage 1 first.")
    state = {name.removeprefix(f"{PROJECTOR}."): tensor.float() for name, tensor in load_file(path).items()}
    try:
        projector.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"projector_from: {path} does not fit the model: {str(error).splitlines()[-1]}") from None


def _load_adapter(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    if not (folder / ADAPTER_FILE).is_file():
        raise ConfigError(f"lora.start_from: {folder} has no {ADAPTER_FILE}.")
    # PEFT wants the projector, too, where it is trained along; an adapter without one leaves it as it is.
    state = get_peft_model_state_dict(model) | load_file(folder / ADAPTER_FILE)
    result = set_peft_model_state_dict(model, state)
    if result.unexpected_keys:
        raise ConfigError(f"lora.start_from: {folder} does not fit the model: {result.unexpected_keys[0]}")
