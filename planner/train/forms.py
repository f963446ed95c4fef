"""How a sample is written for training: a dialect, or LLaVA's plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from planner.conversation import Conversation
from planner.dialects import dialect
from planner.dialects.base import ChatMessage, Dialect, chat_messages
from planner.format import PlannerOutput
from planner.prompt import observation_text
from services.core.spec import SkillSpec

Form = Literal["json", "llava_plus_v0", "text", "caption"]


class TextForm:
    """Answers alone: no tools, thoughts before the answer where a sample has them (LLaVA, LLaVA on ScienceQA)."""

    name = "text"

    def messages(self, conversation: Conversation, tools: Sequence[SkillSpec]) -> list[ChatMessage]:
        return chat_messages(conversation, self.render, observation_text)

    def schema(self, tools: Sequence[SkillSpec]) -> dict[str, Any] | None:
        return None

    def tools(self, tools: Sequence[SkillSpec]) -> list[dict[str, Any]] | None:
        return None

    def render(self, output: PlannerOutput) -> str:
        return f"{output.thoughts}\n{output.value}" if output.thoughts else output.value

    def parse(self, text: str) -> PlannerOutput:
        return PlannerOutput(value=text)

    def partial_value(self, text: str) -> str:
        return text


def form_named(name: Form, learned: Collection[str] = ()) -> Dialect:
    """The dialect that writes samples of this form; captions have no turns and never reach it."""
    return TextForm() if name in ("text", "caption") else dialect(name, learned)
