"""The model as it is trained: LLaVA with a loss that counts where the planner writes, and nowhere else."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlavaForConditionalGeneration

from planner.train.dataset import IGNORED


class PlannerNetwork(LlavaForConditionalGeneration):  # type: ignore[misc]  # transformers has no types
    """`LlavaForConditionalGeneration` with the same parameters under the same names."""

    accepts_loss_kwargs = True

    @classmethod
    def of(cls, model: LlavaForConditionalGeneration) -> Any:
        """The same object with this class: transformers finds a checkpoint's renames by the name of the class."""
        model.__class__ = cls
        return model

    def save_pretrained(self, *where: Any, **options: Any) -> None:
        """Under the parameters' own names: the Trainer resumes from nothing else, and says nothing of what it skips."""
        super().save_pretrained(*where, **options | {"save_original_format": False})

    def forward(
        self,
        input_ids: Any = None,
        pixel_values: Any = None,
        position_ids: Any = None,
        labels: Any = None,
        weights: Any = None,
        choices: Any = None,
        num_items_in_batch: Any = None,
        **others: Any,
    ) -> Any:
        """Weighted cross entropy when there are `weights`, else what LLaVA's own forward gives.

        The language model's head, which is large beside a small model, runs at target positions alone.

        Args:
            input_ids, position_ids, labels (-100 where nothing is learned), weights, choices: [rows, tokens].
            pixel_values: [pictures, 3, side, side], or None.
            num_items_in_batch: targets of the whole step, over which the loss is a mean.

        Returns:
            loss, and how many choices there were and how many of them are right.
        """
        seen = {"input_ids": input_ids, "pixel_values": pixel_values, "position_ids": position_ids}
        if weights is None:
            return super().forward(**seen, labels=labels, **others)
        labels, weights, choices = labels[:, 1:], weights[:, 1:], choices[:, 1:]
        hidden = self.model(**seen, use_cache=False).last_hidden_state
        wanted = labels != IGNORED
        logits = self.lm_head(hidden[:, :-1][wanted]).float()
        goals, chosen = labels[wanted], choices[wanted]
        losses = torch.nn.functional.cross_entropy(logits, goals, reduction="none") * weights[wanted]
        count = num_items_in_batch
        right = (logits[chosen].argmax(-1) == goals[chosen]).sum()
        return {
            "loss": losses.sum() / (goals.numel() if count is None else count),
            "choices": chosen.sum(),
            "right": right,
        }
