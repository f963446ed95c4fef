"""The platform's own dialect: one JSON object, thoughts first, so that `actions` are known before `value`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from planner.conversation import Conversation
from planner.dialects.base import ChatMessage, chat_messages
from planner.dialects.tolerant import loads, without_nulls
from planner.format import PlannerOutput, UnparsableOutput
from planner.prompt import compact_json, observation_text, system_text
from planner.tool_schema import call_schema
from services.core.spec import SkillSpec


class JsonDialect:
    """`{"thoughts":"...","actions":[{"API_name":"...","API_params":{...}}],"value":"..."}`.

    Args:
        learned: see `planner.prompt.system_text`.
    """

    name = "json"

    def __init__(self, learned: Collection[str] = ()) -> None:
        self._learned = tuple(learned)

    def messages(self, conversation: Conversation, tools: Sequence[SkillSpec]) -> list[ChatMessage]:
        system: ChatMessage = {"role": "system", "content": system_text(tools, self._learned)}
        return [system, *chat_messages(conversation, self.render, observation_text)]

    def schema(self, tools: Sequence[SkillSpec]) -> dict[str, Any]:
        """Valid by construction: only known names, and for each name only its own arguments."""
        actions: dict[str, Any] = {"type": "array", "maxItems": 0}
        definitions: dict[str, Any] = {}
        if tools:
            actions = {"type": "array", "items": {"anyOf": [_action_schema(spec, definitions) for spec in tools]}}
        schema = {
            "type": "object",
            "properties": {"thoughts": {"type": "string"}, "actions": actions, "value": {"type": "string"}},
            "required": ["thoughts", "actions", "value"],
            "additionalProperties": False,
        }
        return schema | ({"$defs": definitions} if definitions else {})

    def tools(self, tools: Sequence[SkillSpec]) -> list[dict[str, Any]] | None:
        return None

    def render(self, output: PlannerOutput) -> str:
        return compact_json(output.model_dump(mode="json"))

    def parse(self, text: str) -> PlannerOutput:
        said = loads(text)
        if not (isinstance(said, dict) and said.keys() & {"actions", "value"}):
            raise UnparsableOutput('the reply must be an object with "thoughts", "actions" and "value"', text)
        said = without_nulls(said)
        if isinstance(said.get("actions"), list):
            said["actions"] = [without_nulls(action) for action in said["actions"]]
        try:
            return PlannerOutput.model_validate(said)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the reply"
            raise UnparsableOutput(f"{where}: {first['msg']}", text) from error

    def partial_value(self, text: str) -> str:
        try:
            partial = from_json(text, allow_partial="trailing-strings")
        except ValueError:
            return ""
        if not isinstance(partial, dict) or partial.get("actions"):
            return ""
        value = partial.get("value", "")
        return value if isinstance(value, str) else ""


def _action_schema(spec: SkillSpec, definitions: dict[str, Any]) -> dict[str, Any]:
    params = call_schema(spec)
    definitions.update(params.pop("$defs", {}))
    return {
        "type": "object",
        "properties": {"API_name": {"const": spec.name}, "API_params": params},
        "required": ["API_name", "API_params"],
        "additionalProperties": False,
    }
