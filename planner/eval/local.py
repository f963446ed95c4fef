"""The embedded planner through transformers, without a server: for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.chat import picture_names, prompt_text
from planner.conversation import Conversation
from planner.dialects.json_dialect import JsonDialect
from planner.format import PlannerOutput
from planner.model import WEIGHTS, load_model, picture_tokens, processor
from planner.train.batches import noise
from services.core.registry import discover


class LocalPlanner:
    """Greedy decoding, one conversation at a time, without any constraint on the format."""

    def __init__(self, weights: Path = WEIGHTS, dtype: str = "float32", skills: Sequence[str] = ("easyocr",)) -> None:
        import torch

        self._dtype = getattr(torch, dtype)
        self._model = load_model(weights).to(self._dtype)
        self._tokenizer: Any = processor(weights).tokenizer
        self._picture_tokens = picture_tokens(weights)
        self._dialect = JsonDialect()
        registry = discover()
        self._tools = [registry.spec(name) for name in skills]

    def ask(self, conversation: Conversation) -> PlannerOutput:
        """What the planner says next.

        Raises:
            UnparsableOutput: the model left the format.
        """
        return self._dialect.parse(self.write(conversation))

    def write(self, conversation: Conversation, max_new_tokens: int = 500) -> str:
        """The raw text of the planner's next turn. Pictures are made up from their names."""
        import torch

        messages = self._dialect.messages(conversation, self._tools)
        prompt = prompt_text(self._tokenizer, messages).replace("<image>", "<image>" * self._picture_tokens)
        inputs = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        names = picture_names(messages)
        if names:
            side = self._model.config.vision_config.image_size
            inputs["pixel_values"] = torch.stack([noise(name, side) for name in names]).to(self._dtype)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            written = self._model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        new = written[0, inputs["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=True))
