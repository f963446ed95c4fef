"""Scores a planner on a new skill: does it call it where it should, with the right arguments, and only there?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.chat import picture_names, prompt_text
from planner.conversation import AssistantTurn, Conversation
from planner.dialects.base import ChatMessage, Dialect
from planner.format import PlannerOutput, UnparsableOutput
from planner.language_model import IMAGE_TOKEN
from services.core.spec import SkillSpec

NEW_TOKENS = 160
Write = Callable[[list[ChatMessage]], str]
"""What the model writes after these messages."""


@dataclass(frozen=True)
class Score:
    """Shares, each of its own requests; `needless` counts calls of the skill where it is not meant."""

    requests: int
    valid: float
    choice: float
    arguments: float
    others: int
    needless: float

    def lines(self) -> list[str]:
        return [f"{name:10} {value if isinstance(value, int) else format(value, '.0%')}" for name, value in self.items]

    @property
    def items(self) -> list[tuple[str, int | float]]:
        return list(asdict(self).items())


def score(
    write: Write,
    dialect: Dialect,
    skill: str,
    tools: Sequence[SkillSpec],
    asked: Sequence[Conversation],
    others: Sequence[Conversation],
) -> Score:
    """Ask each conversation's first question.

    Args:
        asked: conversations whose first plan calls the skill.
        others: conversations whose first plan does not.
    """
    outputs = [(_first(write, dialect, tools, turns), _wanted(turns)) for turns in asked]
    read = [(output, wanted) for output, wanted in outputs if output is not None]
    called = [(output, wanted) for output, wanted in read if _names(output) == _names(wanted)]
    right = [1 for output, wanted in called if output.actions[0].API_params == wanted.actions[0].API_params]
    needless = [1 for turns in others if skill in _names(_first(write, dialect, tools, turns))]
    count = max(len(outputs), 1)
    return Score(
        requests=len(outputs),
        valid=len(read) / count,
        choice=len(called) / count,
        arguments=len(right) / max(len(called), 1),
        others=len(others),
        needless=len(needless) / max(len(others), 1),
    )


def greedy(base: Any, pictures: Callable[[str], Any]) -> Write:
    """Greedy decoding with a model of `planner.train.models`.

    Args:
        pictures: a picture's pixels [3, side, side] by its name.
    """
    import torch

    def write(messages: list[ChatMessage]) -> str:
        names = picture_names(messages)
        text = prompt_text(base.tokenizer, messages).replace(IMAGE_TOKEN, IMAGE_TOKEN * base.picture_tokens)
        inputs = dict(base.tokenizer(text, return_tensors="pt"))
        inputs.pop("token_type_ids", None)
        if names:
            kind = next(base.model.parameters()).dtype
            inputs["pixel_values"] = torch.stack([pictures(name) for name in names]).to(kind)
        with torch.inference_mode():
            written = base.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        return str(base.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    return write


def _first(write: Write, dialect: Dialect, tools: Sequence[SkillSpec], turns: Conversation) -> PlannerOutput | None:
    messages = dialect.messages(turns[:1], tools)
    try:
        return dialect.parse(write(messages))
    except UnparsableOutput:
        return None


def _names(output: PlannerOutput | None) -> list[str]:
    return [] if output is None else [action.API_name for action in output.actions]


def _wanted(turns: Conversation) -> PlannerOutput:
    return next(turn.output for turn in turns if isinstance(turn, AssistantTurn))
