"""What a finished run leaves: an adapter, a projector, or a whole model in the layout that vLLM serves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from planner.conversion.layout import Tensor
from planner.conversion.source import TensorFiles
from planner.conversion.writer import shards, write
from planner.train.config import EMBEDDED, TrainConfig
from planner.train.models import ADAPTER_FILE, LINEARS, PROJECTOR, Base

PROJECTOR_FILE = "projector.safetensors"
SHARD_BYTES = 2 * 2**30
_RENAMED = (
    (re.compile(r"^(?:model\.)?language_model\.(?:model\.)?(?!lm_head)"), "language_model.model."),
    (re.compile(r"^(?:language_model\.)?lm_head\."), "language_model.lm_head."),
    (re.compile(r"^(?:model\.)?vision_tower\.(?:vision_model\.)?"), "vision_tower.vision_model."),
    (re.compile(r"^(?:model\.)?multi_modal_projector\."), "multi_modal_projector."),
)


def export(base: Base, trainer: Any, config: TrainConfig) -> None:
    """Write the result into `config.output`; on one process, after all have come here."""
    output = config.output
    if config.language == "full" or config.merge:
        _export_model(base, trainer, config)
        return
    if not trainer.is_world_process_zero():
        return
    output.mkdir(parents=True, exist_ok=True)
    if config.language == "lora":
        _export_adapter(base.model, config)
    if config.projector:
        _export_projector(base.model, output)
        if config.model == EMBEDDED:
            _publish_vision(base.model, config)


def vllm_name(name: str) -> str:
    """A tensor's name as transformers saves it, in the layout that vLLM loads."""
    for pattern, new in _RENAMED:
        if pattern.match(name):
            return pattern.sub(new, name, count=1)
    raise ValueError(f"{name} belongs to no part of a LLaVA model")


def _export_adapter(model: Any, config: TrainConfig) -> None:
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(model)
    kept = {
        key.replace("_orig_mod.", ""): tensor.to(torch.bfloat16).contiguous()
        for key, tensor in state.items()
        if ".lora_" in key
    }
    save_file(kept, config.output / ADAPTER_FILE, metadata={"format": "pt"})
    (config.output / ADAPTER_FILE).chmod(0o644)  # it is written readable by its owner alone
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": config.lora.rank,
        "lora_alpha": config.lora.alpha,
        "target_modules": LINEARS,
    }
    (config.output / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _projector_state(model: Any) -> dict[str, Any]:
    """`multi_modal_projector.*` in fp16, of the copy that was trained."""
    modules = dict(model.named_modules())
    trained = next((name for name in modules if name.endswith(f"{PROJECTOR}.modules_to_save.default")), None)
    name = trained or next(name for name in modules if name.endswith(PROJECTOR))
    return {
        f"{PROJECTOR}.{key}": tensor.detach().half().cpu().contiguous()
        for key, tensor in modules[name].state_dict().items()
    }


def _export_projector(model: Any, output: Path) -> None:
    from safetensors.torch import save_file

    save_file(_projector_state(model), output / PROJECTOR_FILE, metadata={"format": "pt"})
    (output / PROJECTOR_FILE).chmod(0o644)


def _publish_vision(model: Any, config: TrainConfig) -> None:
    """The embedded planner's vision parts with the new projector, in the output folder."""
    from safetensors.torch import load_file, save_file

    from planner.vision import CONFIG, FILE

    assert config.weights is not None
    settings = json.loads((config.weights / CONFIG).read_text(encoding="utf-8"))
    if config.vision_layer is not None:
        settings["feature_layer"] = config.vision_layer
    parts = load_file(config.weights / FILE) | _projector_state(model)
    (config.output / CONFIG).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    temporary = config.output / f"{FILE}.tmp"
    save_file(parts, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)
    temporary.replace(config.output / FILE)


def _export_model(base: Base, trainer: Any, config: TrainConfig) -> None:
    """The whole model: saved by the Trainer, which gathers what is spread over devices, then renamed file by file."""
    saved = config.run / "model"
    if config.language == "lora":
        trainer.model = base.model.merge_and_unload()
    trainer.save_model(str(saved))
    if not trainer.is_world_process_zero():
        return
    config.output.mkdir(parents=True, exist_ok=True)
    files = TensorFiles(saved)
    tensors = sorted((_renamed(files, name) for name in files.tensors), key=lambda tensor: tensor.name)
    write(shards(tensors, SHARD_BYTES, None), config.output, None, lambda *_: None)
    for name in ("config.json", "generation_config.json"):
        shutil.copyfile(saved / name, config.output / name)
    settings = json.loads((config.output / "config.json").read_text(encoding="utf-8"))
    settings["architectures"] = ["LlavaForConditionalGeneration"]
    (config.output / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    base.processor.save_pretrained(config.output)
    shutil.rmtree(saved)


def _renamed(files: TensorFiles, name: str) -> Tensor:
    info = files.tensors[name]
    return Tensor(vllm_name(name), info.shape, info.dtype, lambda: files.read(name))
