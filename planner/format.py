"""The one internal form of what a planner says.

LLaVA-Plus (arXiv 2311.05437, section 2.2) lets the model write three fields: `thoughts` (why),
`actions` (which skills to call, with which arguments) and `value` (what the person reads). Text
forms of the same thing live in `planner.dialects`; nothing outside that folder handles raw text.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Action(BaseModel):
    """One skill call, under the reference implementation's own field names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    API_name: str = Field(min_length=1, max_length=64, description="A skill's name or alias.")
    API_params: dict[str, Any] = Field(default_factory=dict, description="The skill's arguments.")


class PlannerOutput(BaseModel):
    """Thoughts, actions and value of one planner call.

    Empty `actions` mean that `value` is the answer; otherwise `value` is a remark made while the
    skills are called and is not shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    thoughts: str = ""
    actions: tuple[Action, ...] = ()
    value: str = ""

    @property
    def is_answer(self) -> bool:
        return not self.actions


class UnparsableOutput(ValueError):
    """The planner's text is not in its dialect.

    Attributes:
        text: what it wrote, for the repair prompt.
        prompt_tokens, completion_tokens: what it took, where that is known.
    """

    def __init__(self, reason: str, text: str, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.text = text
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens

    def __reduce__(self) -> tuple[type[UnparsableOutput], tuple[str, str, int, int]]:
        return type(self), (self.reason, self.text, self.prompt_tokens, self.completion_tokens)


def valid_unicode(value: Any) -> Any:
    """The same JSON value with "?" for half surrogate pairs, which JSON can write but nothing can store or send."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [valid_unicode(item) for item in value]
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    return value
