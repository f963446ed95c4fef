"""From a dialect's messages to the exact text and tokens that a LLaVA-architecture model is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.dialects.base import ChatMessage


def template_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Messages for a chat template: picture references become bare `{"type": "image"}` parts."""
    return [message | {"content": _content(message["content"])} for message in messages]


def picture_names(messages: Sequence[ChatMessage]) -> list[str]:
    """The pictures of a conversation in the order in which they appear."""
    parts = [part for message in messages if not isinstance(message["content"], str) for part in message["content"]]
    return [part["image_ref"] for part in parts if part["type"] == "image_ref"]


def prompt_text(tokenizer: Any, messages: Sequence[ChatMessage]) -> str:
    """Everything up to the point where the planner starts to write; one `<image>` a picture."""
    text = tokenizer.apply_chat_template(template_messages(messages), add_generation_prompt=True, tokenize=False)
    return str(text)


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [{"type": "image"} if part["type"] == "image_ref" else part for part in content]
