"""Conversations as token ids with the places where the loss counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planner.chat import picture_names, rendered
from planner.conversation import Conversation
from planner.dialects.base import ChatMessage, Dialect
from planner.language_model import IMAGE_TOKEN
from services.core.spec import SkillSpec

# Where a plan is decided: how its thoughts begin, whether a call follows, and which tool it names.
_DECISIONS = (
    re.compile(r'^\s*\{"thoughts":"(?P<at>.)', re.DOTALL),
    re.compile(r'"actions(?:🚀)?":? ?\[(?P<at>.)'),
    re.compile(r'"API_name"\s*:\s*"(?P<at>[^"\\]+")'),
)


@dataclass(frozen=True)
class Encoded:
    """One sample.

    Attributes:
        ids: token ids, each picture already its full run of `<image>` tokens.
        weights: one a token: how much its prediction counts; 0 for everything that the planner does not write.
        choices: one a token: whether it decides what the planner does.
        pictures: names of the pictures, in order.
    """

    ids: list[int]
    weights: list[float]
    choices: list[bool]
    pictures: list[str]


class Encoder:
    """Renders through the dialect and the serving chat template, then tokenises the whole text as serving does.

    Args:
        picture_tokens: tokens that a picture takes.
        choice_weight: weight of the tokens that decide what the planner does.
    """

    def __init__(
        self,
        tokenizer: Any,
        dialect: Dialect,
        tools: Sequence[SkillSpec],
        picture_tokens: int,
        choice_weight: float = 1.0,
    ) -> None:
        self._tokenizer = tokenizer
        self._dialect = dialect
        self._tools = tools
        self._picture_tokens = picture_tokens
        self._choice_weight = choice_weight
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self._stop = _stop_text(tokenizer)

    def encode(
        self,
        conversation: Conversation,
        tools: Sequence[SkillSpec] | None = None,
        *,
        cut: bool = False,
        mistaken: int = 0,
    ) -> Encoded:
        """All assistant turns are targets, each with the stop token after it.

        Args:
            tools: those that the prompt lists, in place of the encoder's.
            cut: end where the first plan is decided: practice in choosing at a fraction of the tokens.
            mistaken: how many of the first assistant turns are mistakes, and no targets.
        """
        messages = self._dialect.messages(conversation, self._tools if tools is None else tools)
        text, written = self._written(messages)
        written = written[mistaken:]
        choices = [span for start, end in written for span in _decisions(text[start:end], start)]
        if cut and choices and written:
            end = max(stop for _, stop in choices if stop <= written[0][1])
            text, written = text[:end], [(written[0][0], end)]
            messages = messages[: 1 + next(i for i, message in enumerate(messages) if message["role"] == "assistant")]
        return self._tokens(text, written, choices, picture_names(messages))

    def encode_caption(self, caption: str, picture: str) -> Encoded:
        """A picture and its text, without any words of a chat: LLaVA's stage 1."""
        text = f"{IMAGE_TOKEN}\n{caption}{self._stop}"
        return self._tokens(text, [(len(IMAGE_TOKEN) + 1, len(text))], [], [picture])

    def _written(self, messages: Sequence[ChatMessage]) -> tuple[str, list[tuple[int, int]]]:
        """The whole text up to the last stop token, and where the planner wrote in it."""
        spans: list[tuple[int, int]] = []
        text = ""
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            start = len(rendered(self._tokenizer, messages[:position], prompt=True))
            whole = rendered(self._tokenizer, messages[: position + 1], prompt=False)
            end = whole.rindex(self._stop) + len(self._stop)
            spans.append((start, end))
            text = whole[:end]
        return text, spans

    def _tokens(
        self, text: str, written: Sequence[tuple[int, int]], choices: Sequence[tuple[int, int]], pictures: list[str]
    ) -> Encoded:
        tokens = self._tokenizer(text, return_offsets_mapping=True)
        ids: list[int] = []
        weights: list[float] = []
        chosen: list[bool] = []
        for token, (start, end) in zip(tokens.input_ids, tokens.offset_mapping, strict=True):
            inside = start < end and any(first <= start and end <= last for first, last in written)
            choice = inside and any(start < last and first < end for first, last in choices)
            repeat = self._picture_tokens if token == self._image_id and not inside else 1
            ids += [token] * repeat
            weights += [(self._choice_weight if choice else 1.0) if inside else 0.0] * repeat
            chosen += [choice] * repeat
        return Encoded(ids, weights, chosen, pictures)


def _decisions(written: str, offset: int) -> Iterator[tuple[int, int]]:
    """Spans of what decides a plan; `offset` is where `written` starts in the text."""
    for pattern in _DECISIONS:
        for found in pattern.finditer(written):
            yield offset + found.start("at"), offset + found.end("at")


def _stop_text(tokenizer: Any) -> str:
    """What ends an assistant's message in the tokenizer's chat template: the stop token, or a mark such as `###`."""
    mark = "@@@"
    messages: list[ChatMessage] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    closing = rendered(tokenizer, messages, prompt=False).rpartition(mark)[2]
    stop = tokenizer.eos_token if closing.startswith(tokenizer.eos_token) else closing.strip()
    if not stop:
        raise ValueError("The chat template does not end the assistant's messages: a planner could not learn to stop.")
    return str(stop)
