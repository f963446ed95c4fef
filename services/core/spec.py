"""What a skill is, as data: the one source of prompts, REST, gRPC, MCP and documentation.

A spec is read off the skill's class: its docstring gives the summary, its pydantic models give the
JSON schemas. Importing it needs neither torch nor Ray.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.core.types import SkillArgs, SkillResult

if TYPE_CHECKING:
    from services.core.skill import Skill


class Symbol(StrEnum):
    """Kinds of session state that a skill takes in or gives out besides its arguments."""

    IMAGE = "image"
    MASK = "mask"
    IMAGE_SEG = "image_seg"
    REFERENCE_IMAGE = "reference_image"
    REFERENCE_MASK = "reference_mask"


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """One skill's name, schemas and needs.

    Attributes:
        name: the name that planners and URLs use.
        aliases: other names that published LLaVA-Plus data uses for the same skill.
        summary: one line for people and planners (the first line of the class docstring).
        description: the whole class docstring.
        args_model, result_model: pydantic models of arguments and result.
        consumes: session state that the orchestrator fills in, `image` for most skills.
        produces: session state that a call adds.
        version: enters cache keys; raise it when the same call starts to give another result.
    """

    name: str
    summary: str
    description: str
    args_model: type[SkillArgs]
    result_model: type[SkillResult]
    aliases: tuple[str, ...] = ()
    consumes: frozenset[Symbol] = field(default_factory=frozenset)
    produces: frozenset[Symbol] = field(default_factory=frozenset)
    version: str = "1"

    @classmethod
    def of(cls, skill: type[Skill[Any, Any]]) -> SkillSpec:
        """The spec of a skill class.

        Raises:
            TypeError: the class lacks a name or a docstring; the message says which.
        """
        if not getattr(skill, "name", ""):
            raise TypeError(f"{skill.__qualname__} needs a class attribute `name`, for example name = 'sam'.")
        doc = inspect.getdoc(skill) if skill.__doc__ else None
        if not doc:
            raise TypeError(f"{skill.__qualname__} needs a docstring: its first line is what planners are told.")
        return cls(
            name=skill.name,
            summary=doc.splitlines()[0].strip(),
            description=doc,
            args_model=skill.Args,
            result_model=skill.Result,
            aliases=tuple(skill.aliases),
            consumes=frozenset(skill.consumes),
            produces=frozenset(skill.produces),
            version=skill.version,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def args_schema(self) -> dict[str, Any]:
        return self.args_model.model_json_schema()

    def result_schema(self) -> dict[str, Any]:
        return self.result_model.model_json_schema(mode="serialization")

    def describe(self) -> dict[str, Any]:
        """JSON-compatible form, as `GET /v1/tools` lists it."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "summary": self.summary,
            "description": self.description,
            "consumes": sorted(self.consumes),
            "produces": sorted(self.produces),
            "version": self.version,
            "arguments": self.args_schema(),
            "result": self.result_schema(),
        }
