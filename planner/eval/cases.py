"""Requests written by hand, with what is right for each: `requests/tool_use.jsonl`.

Those of `requests/tool_use_development.jsonl` are for finding out what the data lacks; they are not reported.

A request may be met in several ways: `accept` lists them. A way is a sequence of groups; calls of a group may come in
any order or at the same time, and groups one after the other. An empty way is an answer without any call.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOOL_USE = Path(__file__).parent / "requests" / "tool_use.jsonl"
DEVELOPMENT = TOOL_USE.with_stem("tool_use_development")
CONVERSATION, REFUSED = "conversation", "refused"
"""The rows in which nothing is to be called, and in which a wish cannot be met."""

Manner = Literal[
    "short",
    "polite",
    "clumsy",
    "indirect",
    "child",
    "professional",
    "non_native",
    "rude",
    "chatty",
    "several_wishes",
    "follow_up",
    "other_names",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constraint(_Model):
    """What an argument must be.

    Attributes:
        has: all must occur in its text, in any case; "a|b" is met by either.
        may_have: words that are welcome in it; they are not scored.
        equals: the value, numbers within 1e-6.
        near: numbers, each within 0.03.
        refers: "SKILL.FIELD": a reference to that result, or its value written out.
        free: anything that the skill takes.
        optional: the argument may be left out.
    """

    has: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    equals: Any = None
    near: Any = None
    refers: str | None = None
    free: bool = False
    optional: bool = False


class ExpectedCall(_Model):
    """One call. Arguments without a constraint must be left out or have their default.

    Attributes:
        marks: the person's marks must be used: left to the platform, referred to, or written out.
    """

    skill: str
    args: dict[str, Constraint] = Field(default_factory=dict)
    marks: Literal["points", "boxes"] | None = None


Way = tuple[tuple[ExpectedCall, ...], ...]


class CallMade(_Model):
    skill: str
    args: dict[str, Any]


class Earlier(_Model):
    """One event of the conversation so far: what was said, or a call with the result that planners are shown."""

    user: str | None = None
    assistant: str | None = None
    call: CallMade | None = None
    result: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Earlier:
        if sum(thing is not None for thing in (self.user, self.assistant, self.call)) != 1:
            raise ValueError("an earlier event is a user's text, an assistant's text, or a call")
        if (self.call is None) != (self.result is None):
            raise ValueError("a call has a result")
        return self


class GivenMarks(_Model):
    points: list[list[float]] = Field(default_factory=list)
    point_labels: list[Literal[0, 1]] = Field(default_factory=list)
    boxes: list[list[float]] = Field(default_factory=list)


class Given(_Model):
    """What comes along: pictures (with the first message), marks, a drawn mask, an example picture with its mask."""

    pictures: int = Field(1, ge=0)
    marks: GivenMarks = Field(default_factory=GivenMarks)
    mask: bool = False
    reference: bool = False


class AnswerWords(_Model):
    """What the final answer must hold; "a|b" is met by either. Without words it must only not be empty."""

    has: tuple[str, ...] = ()


class Case(_Model):
    """One request.

    Attributes:
        before: the conversation so far.
        accept: the right ways to meet it.
        refuse: the answer should say what cannot be done, or what is missing.
        answer: a text is wanted too, after the calls.
    """

    id: str
    row: str
    manner: Manner
    text: str = Field(min_length=1)
    before: tuple[Earlier, ...] = ()
    given: Given = Field(default_factory=Given)
    accept: tuple[Way, ...] = Field(min_length=1)
    refuse: bool = False
    answer: AnswerWords | None = None
    note: str = ""

    @property
    def wants_calls(self) -> bool:
        """Whether an answer without any call would be wrong."""
        return () not in self.accept


def load_cases(path: Path = TOOL_USE) -> list[Case]:
    """All requests of a file, in its order. Raises `ValueError` for a damaged or repeated one."""
    cases = [Case.model_validate(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    if len({case.id for case in cases}) != len(cases):
        raise ValueError(f"{path}: two requests have the same id")
    return cases


def sampled(cases: list[Case], count: int | None) -> list[Case]:
    """About `count` requests, evenly over the file and so over its rows; all of them for None."""
    if count is None or count >= len(cases):
        return cases
    return [cases[index * len(cases) // count] for index in range(count)]
