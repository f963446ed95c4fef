"""Whole dialogues with tool calls, written by a text model from what is known of a picture (LLaVA-Plus, section 3).

The model plans people's questions and the calls that meet them; the calls are made; then it words each answer from what
they gave. What does not fit the SkillSpecs is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from planner.conversation import AssistantTurn
from planner.data.desk import Desk, Request
from planner.data.llava.context import described
from planner.data.results import NoResult
from planner.data.text_model import TextModel
from planner.dialects.tolerant import loads
from planner.format import Action, UnparsableOutput
from planner.prompt import observation_line, tool_line
from services.core.spec import SkillSpec

TURNS_MAX = 5
_PLAN = (
    "You plan a conversation of a person with an assistant that works on a picture with tools. You are given what is "
    "known of the picture, and the tools with their arguments. Write one to three messages of the person, each in the "
    "manner of a real one, and for each the calls that meet it (none where it is mere talk). Name things as the list "
    'does. Answer in JSON alone: [{"message": "...", "calls": [{"tool": "...", "arguments": {...}}]}].'
)
_ANSWER = (
    "Answer the person's message in one or two plain sentences, from the results of the tools alone. Do not speak of "
    "tools, results or coordinates."
)


@dataclass(frozen=True)
class WrittenDialogues:
    """A row whose messages, calls and answers a text model writes."""

    model: TextModel
    offered: Sequence[SkillSpec]
    name: str = "dialogues"
    title: str = "Dialogues written from the picture's context"
    skills: tuple[str, ...] = ()
    whole: bool = True

    def build(self, desk: Desk) -> None:
        desk.choice_only = False
        salt = str(desk.rng.randrange(2**32))
        tools = "\n".join(tool_line(spec) for spec in self.offered)
        plan = self.model.complete(_PLAN, f"{described(desk.picture)}\n\nTools:\n{tools}", salt=salt)
        known = {name: spec.name for spec in self.offered for name in spec.names}
        for message, actions in planned(plan):
            if any(action.API_name not in known for action in actions):
                raise NoResult("the model calls a tool that there is not")
            named = [action.model_copy(update={"API_name": known[action.API_name]}) for action in actions]
            self._turn(desk, message, tuple(named))

    def _turn(self, desk: Desk, message: str, actions: tuple[Action, ...]) -> None:
        if not actions:
            said = self.model.complete(_ANSWER, f"Message: {message}\n{described(desk.picture)}")
            desk.perform(Request(message, (), "", lambda got: said.strip()))
            return
        names = " and ".join(action.API_name for action in actions)
        request = Request(message, actions, f"The person's wish needs {names}.", lambda got: "")
        desk.ask(request)
        desk.run(request)
        results = desk.turns[-1]
        assert not isinstance(results, AssistantTurn)
        lines = "\n".join(observation_line(seen) for seen in getattr(results, "observations", ()))
        said = self.model.complete(_ANSWER, f"Message: {message}\nResults:\n{lines}").strip()
        desk.say(said, "The results answer the question.")


def planned(text: str) -> list[tuple[str, tuple[Action, ...]]]:
    """Messages with their calls, as a model wrote them.

    Raises:
        NoResult: the text is in another form.
    """
    try:
        said: Any = loads(text)
        rows = said if isinstance(said, list) else [said]
        found = [(str(row["message"]).strip(), tuple(_action(one) for one in row.get("calls") or ())) for row in rows]
    except (UnparsableOutput, ValidationError, KeyError, TypeError, AttributeError):
        raise NoResult("the model's text is not in the form asked for") from None
    if not found or not all(message for message, _ in found):
        raise NoResult("the model's text is not in the form asked for")
    return found[:TURNS_MAX]


def _action(call: dict[str, Any]) -> Action:
    arguments = call.get("arguments") or {}
    return Action(API_name=str(call["tool"]), API_params=json.loads(json.dumps(arguments)))
