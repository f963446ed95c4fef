"""A planner that follows a script, behind the production protocol: an OpenAI-compatible endpoint with tool calls.

It knows what to do by the question that is asked, and keeps no state: where a turn stands is read off the messages, so
that any number of conversations may go on at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.openai_server import Endpoint, calls, text

Plan = Sequence[tuple[str, Mapping[str, Any]]]
"""Tool calls of one reply: names as skills have them, and arguments."""
Results = Sequence[Mapping[str, Any]]
"""What the calls of a turn gave, as the planner is told it, in order."""


@dataclass(frozen=True)
class Part:
    """What the planner does with a question: its plans one after the other, and what it says in the end."""

    plans: Sequence[Plan]
    answer: Callable[[Results], str]


@dataclass
class ScriptedEndpoint(Endpoint):
    """An endpoint that plays `script`: a question's words, and the part that it is."""

    replies: list[Any] = field(default_factory=list)
    script: Mapping[str, Part] = field(default_factory=dict)

    def reply_to(self, body: dict[str, Any]) -> Any:
        lines, since = _last_question(body["messages"])
        part = next((self.script[line] for line in lines if line in self.script), None)
        if part is None:
            return text(f"The script has no part for {lines!r}.")
        done = sum(1 for message in since if message.get("tool_calls"))
        if done < len(part.plans) and body.get("tool_choice") != "none":
            return calls(*((_written(name), json.dumps(args)) for name, args in part.plans[done]))
        results = [json.loads(message["content"]) for message in since if message["role"] == "tool"]
        return text(*part.answer(results).partition(" "))


def _last_question(messages: Sequence[dict[str, Any]]) -> tuple[list[str], Sequence[dict[str, Any]]]:
    """The last question's lines (findings stand before it, marks after it), and the messages that followed."""
    place = max(index for index, message in enumerate(messages) if message["role"] == "user")
    words = "".join(part["text"] for part in messages[place]["content"] if part["type"] == "text")
    return words.splitlines(), messages[place + 1 :]


def _written(name: str) -> str:
    return name.replace("+", "__and__")
