"""The text of the published LLaVA-Plus checkpoints and data (https://github.com/LLaVA-VL/LLaVA-Plus-Codebase).

Three marked parts, each on a line of its own; the conversation around them (Vicuna v0, turns parted by `###`) is the
chat template's business. These models know their skills from training: no tool is described in the prompt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from planner.conversation import Conversation, ObservationTurn
from planner.dialects.base import ChatMessage, chat_messages
from planner.dialects.tolerant import loads, without_nulls
from planner.format import Action, PlannerOutput, UnparsableOutput
from planner.prompt import observation_line
from services.core.spec import SkillSpec

THOUGHTS, ACTIONS, VALUE = '"thoughts🤔"', '"actions🚀"', '"value👉"'
SUMMARISE = "Please summarize the model outputs and answer my first question: "

_ACTIONS = TypeAdapter(tuple[Action, ...])
# Greedy up to the last mark, so that marks inside a part do not end it; the value may be missing.
_WHOLE = re.compile(rf"{THOUGHTS}(?P<thoughts>.*?){ACTIONS}(?P<actions>.*?)(?:{VALUE}(?P<value>.*))?\Z", re.DOTALL)


class LlavaPlusV0Dialect:
    """`"thoughts🤔" ...`, `"actions🚀" [...]`, `"value👉" ...`"""

    name = "llava_plus_v0"

    def messages(self, conversation: Conversation, tools: Sequence[SkillSpec]) -> list[ChatMessage]:
        return chat_messages(conversation, self.render, _observation_text)

    def schema(self, tools: Sequence[SkillSpec]) -> dict[str, Any] | None:
        """None: the form is not JSON."""
        return None

    def tools(self, tools: Sequence[SkillSpec]) -> list[dict[str, Any]] | None:
        return None

    def render(self, output: PlannerOutput) -> str:
        actions = json.dumps([action.model_dump(mode="json") for action in output.actions])
        return f"{THOUGHTS} {output.thoughts}\n{ACTIONS} {actions}\n{VALUE} {output.value}\n"

    def parse(self, text: str) -> PlannerOutput:
        parts = _WHOLE.search(text)
        if parts is None:
            raise UnparsableOutput(f"the reply must have {THOUGHTS}, {ACTIONS} and {VALUE}", text)
        written = parts["actions"].strip()
        try:
            said = loads(written) if written else []
            actions = _ACTIONS.validate_python([without_nulls(one) for one in said] if isinstance(said, list) else said)
        except UnparsableOutput as error:
            raise UnparsableOutput(f"actions: {error.reason}", text) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UnparsableOutput(f"actions.{where}: {first['msg']}", text) from error
        return PlannerOutput(thoughts=parts["thoughts"].strip(), actions=actions, value=(parts["value"] or "").strip())

    def partial_value(self, text: str) -> str:
        head, mark, value = text.partition(VALUE)
        if not mark or ACTIONS not in head:
            return ""
        written = head.partition(ACTIONS)[2].strip()
        # What may still turn into trailing space, which `parse` drops, is held back.
        return value.strip() if written in ("", "[]") else ""


def _observation_text(turn: ObservationTurn) -> str:
    results = "\n".join(observation_line(observation) for observation in turn.observations)
    return f"{results}\n\n{SUMMARISE}{turn.question}"
