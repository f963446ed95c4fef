"""Conversations as token ids with the places where the loss counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.chat import picture_names, prompt_text
from planner.conversation import Conversation
from planner.dialects.base import Dialect
from planner.language_model import IMAGE_TOKEN_ID, STOP_TOKEN_ID
from services.core.spec import SkillSpec

CHOICE_PREFIX = '{"thoughts":"'
"""What every target starts with: the token after it decides between a call and an answer."""


@dataclass(frozen=True)
class Encoded:
    """One conversation.

    Attributes:
        ids: token ids, each picture already its full run of `<image>` tokens.
        weights: one a token: how much its prediction counts; 0 for everything that the planner does not write.
        pictures: names of the pictures, in order.
    """

    ids: list[int]
    weights: list[float]
    pictures: list[str]


class Encoder:
    """Renders through the dialect and the serving chat template, then tokenises piece by piece as serving does."""

    def __init__(
        self, tokenizer: Any, dialect: Dialect, tools: Sequence[SkillSpec], picture_tokens: int, choice_weight: float
    ) -> None:
        self._tokenizer = tokenizer
        self._dialect = dialect
        self._tools = tools
        self._picture_tokens = picture_tokens
        self._choice_weight = choice_weight
        self._choice_at = len(self._ids(CHOICE_PREFIX))

    def encode(self, conversation: Conversation) -> Encoded:
        """All assistant turns are targets, each with the stop token after it."""
        messages = self._dialect.messages(conversation, self._tools)
        ids: list[int] = []
        weights: list[float] = []
        done = ""
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = prompt_text(self._tokenizer, messages[:position])
            target = str(message["content"])
            context = self._expand(self._ids(prompt.removeprefix(done)))
            written = [*self._ids(target), STOP_TOKEN_ID]
            ids += context + written
            weights += [0.0] * len(context) + self._target_weights(target, len(written))
            done = f"{prompt}{target}<|im_end|>"
        return Encoded(ids, weights, picture_names(messages))

    def _target_weights(self, target: str, length: int) -> list[float]:
        weights = [1.0] * length
        if target.startswith(CHOICE_PREFIX):
            weights[self._choice_at] = self._choice_weight
        return weights

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _expand(self, ids: list[int]) -> list[int]:
        return [i for token in ids for i in ([token] * (self._picture_tokens if token == IMAGE_TOKEN_ID else 1))]
