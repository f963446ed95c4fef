"""What a dialect is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from planner.conversation import AssistantTurn, Conversation, ObservationTurn, UserTurn
from planner.format import PlannerOutput
from services.core.spec import SkillSpec

ChatMessage = dict[str, Any]
"""OpenAI's chat form; a picture is the part {"type": "image_ref", "image_ref": "img_..."}."""


class Dialect(Protocol):
    """Renders a conversation for a model and reads what the model answers."""

    name: str

    def messages(self, conversation: Conversation, tools: Sequence[SkillSpec]) -> list[ChatMessage]:
        """The conversation as chat messages, with the tools' descriptions where the model expects them."""
        ...

    def schema(self, tools: Sequence[SkillSpec]) -> dict[str, Any] | None:
        """JSON schema that constrains decoding, or None when the form is not JSON."""
        ...

    def tools(self, tools: Sequence[SkillSpec]) -> list[dict[str, Any]] | None:
        """The skills as native tools, or None where the model reads of them in the messages."""
        ...

    def render(self, output: PlannerOutput) -> str:
        """The text a model writes for `output`."""
        ...

    def parse(self, text: str) -> PlannerOutput:
        """The inverse of `render`.

        Raises:
            UnparsableOutput: the text is not in this dialect; the reason is fit to show the planner.
        """
        ...

    def partial_value(self, text: str) -> str:
        """As much of the answer as an unfinished `text` holds; '' while it may still be a tool call."""
        ...


_NAMED = re.compile(r"""["']API_name["']\s*:\s*["']([^"'\\]{1,64})["']""")


def called_names(text: str) -> list[str]:
    """The skills that unfinished text has named so far; all dialects write a call under the same key."""
    return _NAMED.findall(text)


def chat_messages(
    conversation: Conversation, render: Callable[[PlannerOutput], str], observe: Callable[[ObservationTurn], str]
) -> list[ChatMessage]:
    """One message a turn: what dialects share; pictures stand before the text that came with them."""
    messages: list[ChatMessage] = []
    for turn in conversation:
        if isinstance(turn, UserTurn):
            pictures = [{"type": "image_ref", "image_ref": ref} for ref in turn.images]
            messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.text}]})
        elif isinstance(turn, AssistantTurn):
            messages.append({"role": "assistant", "content": render(turn.output)})
        else:
            messages.append({"role": "user", "content": [{"type": "text", "text": observe(turn)}]})
    return messages
