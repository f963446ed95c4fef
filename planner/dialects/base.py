"""What a dialect is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from planner.conversation import Conversation
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
