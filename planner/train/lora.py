"""The training loop: LoRA on all linear layers of the language model, bf16, resumable."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner.dialects.json_dialect import JsonDialect
from planner.language_model import tokenizer
from planner.model import load_model, picture_tokens
from planner.train.batches import Batch, batches
from planner.train.config import TrainConfig
from planner.train.encode import Encoder
from planner.train.vision import GEOMETRY, initialise_vision
from services.core.registry import discover

LINEARS = r".*language_model\.layers.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True)
class Point:
    """One point of the training curve."""

    step: int
    samples: int
    loss: float
    choice_right: float
    minutes: float


class Trainer:
    """Trains one recipe. A run that was cut goes on from its last checkpoint."""

    def __init__(self, config: TrainConfig, tell: Callable[[str], None]) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        self._config = config
        self._tell = tell
        initialise_vision(config.weights, config.seed)
        torch.manual_seed(config.seed)
        registry = discover()
        self._encoder = Encoder(
            tokenizer(),
            JsonDialect(),
            [registry.spec(name) for name in config.skills],
            picture_tokens(config.weights),
            config.choice_weight,
        )
        base = load_model(config.weights, adapter=False, attention="eager").to(torch.bfloat16)
        settings = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=LINEARS)
        self._model: Any = get_peft_model(base, settings)
        if config.start_from is not None:
            self._load(config.start_from)
        self._model.train()
        self._llava = self._model.base_model.model
        if config.compile:
            torch._dynamo.config.recompile_limit = 4 * len(config.lengths)
            for layer in self._llava.model.language_model.layers:
                layer.compile(dynamic=False)
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.learning_rate, weight_decay=0.0)
        self._curve: list[Point] = []

    def run(self) -> list[Point]:
        """Train to the end, save the adapter into the weights folder and return the curve."""
        config = self._config
        side = int(str(GEOMETRY["vision_config"]["image_size"]))  # type: ignore[index]
        total = self._count_steps()
        start, samples, spent = self._resume()
        begun = time.monotonic() - spent
        recent: list[tuple[float, float]] = []
        for step, batch in enumerate(itertools.islice(batches(config, self._encoder, side), start, total), start + 1):
            recent.append(self._step(batch, self._rate(step, total)))
            samples += batch.samples
            elapsed = time.monotonic() - begun
            if step % 20 == 0 or step == total:
                loss, right = (sum(column) / len(recent) for column in zip(*recent, strict=True))
                recent = []
                self._curve.append(Point(step, samples, round(loss, 4), round(right, 4), round(elapsed / 60, 2)))
                left = (total - step) * (elapsed - spent) / max(step - start, 1) / 60
                self._tell(f"step {step}/{total} loss {loss:.4f} choice {right:.3f} left {left:.1f} min")
            if step % config.checkpoint_every == 0:
                self._checkpoint(step, samples, elapsed)
        self.save(config.weights)
        return self._curve

    def save(self, folder: Path) -> None:
        """Write the adapter in bf16 and its settings."""
        import torch
        from peft import get_peft_model_state_dict
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = get_peft_model_state_dict(self._model)
        kept = {key.replace("_orig_mod.", ""): t.to(torch.bfloat16).contiguous() for key, t in state.items()}
        save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_model.safetensors").chmod(0o644)
        settings = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": self._config.rank,
            "lora_alpha": self._config.alpha,
            "target_modules": LINEARS,
        }
        (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def _load(self, folder: Path) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(self._model, load_file(folder / "adapter_model.safetensors"))

    def _step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """One update; returns the loss and the share of choice tokens predicted right."""
        import torch

        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self._llava.model(
                input_ids=batch.ids, pixel_values=batch.pixels, use_cache=False
            ).last_hidden_state
            wanted = batch.weights[:, 1:] > 0
            logits = self._llava.lm_head(hidden[:, :-1][wanted]).float()
        weights, goals = batch.weights[:, 1:][wanted], batch.ids[:, 1:][wanted]
        losses = torch.nn.functional.cross_entropy(logits, goals, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        choices = weights == self._config.choice_weight
        right = (logits[choices].argmax(-1) == goals[choices]).float().mean()
        return loss.item(), right.item()

    def _rate(self, step: int, total: int) -> float:
        peak, warmup = self._config.learning_rate, self._config.warmup_steps
        if step <= warmup:
            return peak * step / warmup
        along = (step - warmup) / max(total - warmup, 1)
        return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * min(along, 1.0))) / 2)

    def _count_steps(self) -> int:
        """Batches of the whole run (data only: some seconds)."""
        return sum(1 for _ in batches(self._config, self._encoder, side=8))

    def _checkpoint(self, step: int, samples: int, elapsed: float) -> None:
        import torch
        from peft import get_peft_model_state_dict

        self._config.run.mkdir(parents=True, exist_ok=True)
        state = {
            "step": step,
            "samples": samples,
            "elapsed": elapsed,
            "adapter": get_peft_model_state_dict(self._model),
            "optimizer": self._optimizer.state_dict(),
            "curve": [asdict(point) for point in self._curve],
        }
        temporary = self._config.run / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self._config.run / "checkpoint.pt")
        self.save(self._config.run / "adapter")

    def _resume(self) -> tuple[int, int, float]:
        """Steps, samples and seconds already done."""
        import torch
        from peft import set_peft_model_state_dict

        path = self._config.run / "checkpoint.pt"
        if not path.is_file():
            return 0, 0, 0.0
        state = torch.load(path, weights_only=True)
        set_peft_model_state_dict(self._model, state["adapter"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._curve = [Point(**point) for point in state["curve"]]
        self._tell(f"going on from step {state['step']}")
        return int(state["step"]), int(state["samples"]), float(state["elapsed"])
