"""Conversation, detailed description and complex reasoning, written by a text model (section 3, Table 14 on)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from planner.conversation import AssistantTurn, UserTurn
from planner.data.desk import NO_TOOL, Desk
from planner.data.llava.context import described
from planner.data.results import NoResult
from planner.data.text_model import TextModel
from planner.dialects.tolerant import loads
from planner.format import PlannerOutput, UnparsableOutput

QUESTIONS_MAX = 8

_SETTING = (
    "You are given sentences about a picture and a list of things in it with their boxes, as shares of its width and "
    "height from the top left. Write as somebody who looks at the picture: never speak of captions, lists, boxes or "
    "coordinates. Write only what can be known for certain from what is given. "
)
_FORM = 'Answer in JSON alone: [{"question": "...", "answer": "..."}].'
CONVERSATION: Final = (
    _SETTING + "Write a conversation of three to five questions of a person and the answers: about kinds of things, "
    "what they do, how many there are, where they are, and how they lie to each other. Ask only what has a sure "
    f"answer. {_FORM}"
)
DETAIL: Final = (
    _SETTING + "Write one question that asks for a thorough description of the picture, in words of your own, and a "
    f"description of several sentences that goes from the whole to the details. {_FORM}"
)
REASONING: Final = (
    _SETTING + "Write one question that takes several steps of thought beyond what is plainly seen (causes, purposes, "
    "consequences, advice), and an answer that gives the steps and ends with the conclusion. "
    f"{_FORM}"
)


@dataclass(frozen=True)
class WrittenByModel:
    """A row of LLaVA's own data: questions and answers without tools."""

    name: str
    title: str
    model: TextModel
    instructions: str
    skills: tuple[str, ...] = ()
    whole: bool = True

    def build(self, desk: Desk) -> None:
        salt = str(desk.rng.randrange(2**32))
        pairs = questions_and_answers(self.model.complete(self.instructions, described(desk.picture), salt=salt))
        for number, (question, answer) in enumerate(pairs):
            images = (desk.picture.name,) if number == 0 else ()
            desk.turns.append(UserTurn(text=question, images=images))
            desk.turns.append(AssistantTurn(output=PlannerOutput(thoughts=NO_TOOL, value=answer)))


def questions_and_answers(text: str) -> list[tuple[str, str]]:
    """The pairs that a model wrote.

    Raises:
        NoResult: it wrote something else, or spoke of what it was given.
    """
    try:
        said: Any = loads(text)
    except UnparsableOutput:
        raise NoResult("the model's text is not in the form asked for") from None
    rows = said if isinstance(said, list) else [said]
    pairs = [(_text(row, "question"), _text(row, "answer")) for row in rows[:QUESTIONS_MAX]]
    if not pairs or not all(question and answer for question, answer in pairs):
        raise NoResult("the model's text is not in the form asked for")
    if any(word in answer.lower() for _, answer in pairs for word in ("bounding box", "caption", "coordinates")):
        raise NoResult("the model speaks of what it was given")
    return pairs


def _text(row: Any, key: str) -> str:
    return " ".join(str(row.get(key, "")).split()) if isinstance(row, dict) else ""


def llava_rows(model: TextModel) -> list[WrittenByModel]:
    """The three rows."""
    return [
        WrittenByModel("llava_conversation", "LLaVA conversation", model, CONVERSATION),
        WrittenByModel("llava_detail", "LLaVA detailed description", model, DETAIL),
        WrittenByModel("llava_reasoning", "LLaVA complex reasoning", model, REASONING),
    ]
