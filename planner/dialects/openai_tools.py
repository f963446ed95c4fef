"""Any model with native tool calls behind OpenAI's protocol (https://platform.openai.com/docs/guides/function-calling).

Conversations become its messages: a plan is an assistant message with `tool_calls`, an observation a `tool` message for
each. What the model streams back is written by `planner.openai_engine` in the `json` dialect's form, so that parsing,
repair and early names are one code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planner.conversation import AssistantTurn, Conversation, ObservationTurn, UserTurn
from planner.dialects.base import ChatMessage
from planner.dialects.json_dialect import JsonDialect
from planner.format import Action, PlannerOutput
from planner.prompt import compact_json, gives, observation_text
from planner.tool_schema import call_schema
from services.core.spec import SkillSpec

SYSTEM = """You help people with pictures, using the given tools.
- Call several tools at once when you can: independent ones run at the same time.
- A call may use what another call of the same reply gives: "$1.boxes" is the field `boxes` of your first call's \
result, "$1.boxes.0" its first item. A result of an earlier reply is named by its tool: "$grounding_dino.boxes".
- Tools work on the newest picture, mask or map; the parameters `image`, `mask` and the like choose another, by a name \
such as "image 2" or a result such as "$2.edited_image".
- Boxes, points and masks hold for the picture in which they were found, and for those made from it.
- When a call failed, say what could not be done. Answer in the person's words, without handles or raw data."""

_PLUS, _PLUS_WRITTEN = "+", "__and__"
"""OpenAI's function names have letters, digits, `_` and `-` only."""


class OpenAIToolsDialect:
    """Tool calls of OpenAI's chat completions."""

    name = "openai_tools"

    def __init__(self) -> None:
        self._text = JsonDialect()

    def messages(self, conversation: Conversation, tools: Sequence[SkillSpec]) -> list[ChatMessage]:
        messages: list[ChatMessage] = [{"role": "system", "content": SYSTEM}]
        for index, turn in enumerate(conversation):
            if isinstance(turn, UserTurn):
                pictures = [{"type": "image_ref", "image_ref": ref} for ref in turn.images]
                messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": turn.text}]})
            elif isinstance(turn, AssistantTurn):
                messages.append(_said(turn.output, index, _answered(conversation, index)))
            else:
                messages += _observed(turn, conversation, index)
        return messages

    def tools(self, tools: Sequence[SkillSpec]) -> list[dict[str, Any]]:
        """The skills as OpenAI's functions."""
        return [
            {
                "type": "function",
                "function": {
                    "name": spec.name.replace(_PLUS, _PLUS_WRITTEN),
                    "description": f"{spec.description}\n\n{gives(spec)}",
                    "parameters": call_schema(spec),
                },
            }
            for spec in tools
        ]

    def schema(self, tools: Sequence[SkillSpec]) -> dict[str, Any] | None:
        """None: the endpoint keeps its own calls in form."""
        return None

    def render(self, output: PlannerOutput) -> str:
        return self._text.render(output)

    def parse(self, text: str) -> PlannerOutput:
        output = self._text.parse(text)
        actions = tuple(
            Action(API_name=action.API_name.replace(_PLUS_WRITTEN, _PLUS), API_params=action.API_params)
            for action in output.actions
        )
        return output.model_copy(update={"actions": actions})

    def partial_value(self, text: str) -> str:
        return self._text.partial_value(text)


def _answered(conversation: Conversation, index: int) -> bool:
    """Whether every call of the assistant turn at `index` has its observation: the protocol takes no others."""
    turn = conversation[index]
    after = conversation[index + 1] if index + 1 < len(conversation) else None
    return (
        isinstance(turn, AssistantTurn)
        and isinstance(after, ObservationTurn)
        and len(after.observations) == len(turn.output.actions) > 0
    )


def _said(output: PlannerOutput, index: int, answered: bool) -> ChatMessage:
    if not answered:
        return {"role": "assistant", "content": output.value or output.thoughts or "..."}
    calls = [
        {
            "id": f"call_{index}_{number}",
            "type": "function",
            "function": {
                "name": action.API_name.replace(_PLUS, _PLUS_WRITTEN),
                "arguments": compact_json(action.API_params),
            },
        }
        for number, action in enumerate(output.actions)
    ]
    return {"role": "assistant", "content": output.value or None, "tool_calls": calls}


def _observed(turn: ObservationTurn, conversation: Conversation, index: int) -> list[ChatMessage]:
    if index == 0 or not _answered(conversation, index - 1):
        return [{"role": "user", "content": [{"type": "text", "text": observation_text(turn)}]}]
    return [
        {"role": "tool", "tool_call_id": f"call_{index - 1}_{number}", "content": compact_json(observation.content)}
        for number, observation in enumerate(turn.observations)
    ]
