"""From a dialect's messages to the exact text that a model is given: in training, scoring and serving alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.dialects.base import ChatMessage


def picture_names(messages: Sequence[ChatMessage]) -> list[str]:
    """The pictures of a conversation in the order in which they appear."""
    parts = [part for message in messages if not isinstance(message["content"], str) for part in message["content"]]
    return [part["image_ref"] for part in parts if part["type"] == "image_ref"]


def prompt_text(tokenizer: Any, messages: Sequence[ChatMessage]) -> str:
    """Everything up to the point where the planner starts to write; one `<image>` a picture.

    What people (and pictures, through OCR) say cannot end a message or stand for a picture: the
    tokenizer's special tokens are taken apart in it.
    """
    return rendered(tokenizer, messages, prompt=True)


def rendered(tokenizer: Any, messages: Sequence[ChatMessage], *, prompt: bool) -> str:
    """The conversation as text; `prompt` opens the planner's next message."""
    special = special_tokens(tokenizer)
    safe = [message | {"content": _content(message["content"], special)} for message in messages]
    return str(tokenizer.apply_chat_template(safe, add_generation_prompt=prompt, tokenize=False))


def special_tokens(tokenizer: Any) -> list[str]:
    """Texts that the tokenizer reads as one control token, longest first."""
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted(added | set(tokenizer.all_special_tokens), key=len, reverse=True)


def _content(content: Any, special: Sequence[str]) -> Any:
    if isinstance(content, str):
        return _plain(content, special)
    return [
        {"type": "image"} if part["type"] == "image_ref" else part | {"text": _plain(part["text"], special)}
        for part in content
    ]


def _plain(text: str, special: Sequence[str]) -> str:
    for token in special:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
