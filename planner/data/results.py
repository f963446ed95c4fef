"""Where the results of skills come from while data is made: the port, and what all its implementations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from planner.data.labels import LabelledPicture
from services.core.registry import Registry
from services.core.spec import Symbol
from services.core.types import SkillResult


class NoResult(Exception):
    """The call cannot be answered for this picture; the sample is not made. The text says why, for the report."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call with what it works on.

    Attributes:
        args: the skill's arguments, without references.
        symbols: what earlier calls of the conversation produced, as their results have it.
        reference: the example picture and the index of the object that is marked in it.
    """

    skill: str
    args: Mapping[str, Any]
    picture: LabelledPicture | None = None
    reference: tuple[LabelledPicture, int] | None = None
    symbols: Mapping[Symbol, Any] = field(default_factory=dict)
    seed: int = 0


class SkillResults(Protocol):
    """Answers skill calls, with results of the skill's own schema."""

    def call(self, asked: Asked) -> dict[str, Any]:
        """The result as plain data.

        Raises:
            NoResult: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """A result in the two forms that a planner may be given: in brief, and whole."""

    brief: dict[str, Any]
    whole: dict[str, Any]
    raw: dict[str, Any] = field(repr=False)


def told(registry: Registry, skill: str, result: dict[str, Any]) -> Told:
    """What the gateway shows of a result.

    Raises:
        NoResult: the result is not of the skill's schema.
    """
    model: type[SkillResult] = registry.spec(skill).result_model
    try:
        valid = model.model_validate(result)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise NoResult(f"{skill}: the result's {where} is not of its schema") from None
    return Told(valid.observation(brief=True), valid.observation(brief=False), result)
