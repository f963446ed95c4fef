"""transformers' Trainer over planned batches: CPU or GPU, one device or many, resumable to the bit."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments

from planner.train.config import TrainConfig
from planner.train.dataset import PlannedBatches, first_item


class PlannerTrainer(Trainer):  # type: ignore[misc]  # transformers has no types
    """Adds to the log how often the choices of a plan were predicted right."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._choices = 0
        self._right = 0

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        self._choices += int(outputs["choices"])
        self._right += int(outputs["right"])
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        if "loss" in logs and self._choices:
            logs["choice_right"] = round(self._right / self._choices, 4)
            self._choices = self._right = 0
        super().log(logs, start_time)


def arguments(config: TrainConfig) -> TrainingArguments:
    """The Trainer's settings. With DeepSpeed they must be made before the model is loaded, which is then spread."""
    import torch

    gpu = torch.cuda.is_available()
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.run / "tensorboard")
    return TrainingArguments(
        output_dir=str(config.run),
        per_device_train_batch_size=1,  # an item of the data set is a batch
        gradient_accumulation_steps=config.accumulation,
        num_train_epochs=1,  # the plan holds all epochs
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": config.final_rate},
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        bf16=config.precision == "bf16",
        use_cpu=not gpu,
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        logging_steps=config.log_every,
        save_steps=config.checkpoint_every,
        save_total_limit=config.checkpoints_kept,
        seed=config.seed,
        report_to=["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
        deepspeed=str(config.deepspeed) if config.deepspeed else None,
        dataloader_num_workers=config.workers,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        disable_tqdm=True,
    )


def trainer(model: Any, batches: PlannedBatches, args: TrainingArguments, callback: Any) -> PlannerTrainer:
    """The Trainer, quiet but for `callback`."""
    from transformers.trainer_callback import PrinterCallback

    made = PlannerTrainer(model=model, args=args, train_dataset=batches, data_collator=first_item, callbacks=[callback])
    made.remove_callback(PrinterCallback)
    return made


def last_checkpoint(run: Path) -> str | None:
    """The newest whole checkpoint of the run."""
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(str(run)) if run.is_dir() else None
