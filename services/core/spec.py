"""What a skill is, as data: the one source of prompts, REST, gRPC, MCP and documentation.

A spec is read off the skill's class: its docstring gives the summary, its pydantic models give the
JSON schemas. Importing it needs neither torch nor Ray.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.core.types import SkillArgs, SkillResult

if TYPE_CHECKING:
    from services.core.skill import BaseSkill


class Symbol(StrEnum):
    """Kinds of session state that a skill takes in or gives out besides its arguments."""

    IMAGE = "image"
    MASK = "mask"
    IMAGE_SEG = "image_seg"
    REFERENCE_IMAGE = "reference_image"
    REFERENCE_MASK = "reference_mask"


RESULT_FIELDS: Mapping[Symbol, tuple[str, ...]] = {
    Symbol.IMAGE: ("edited_image",),
    Symbol.MASK: ("mask_rle", "masks_rle"),
    Symbol.IMAGE_SEG: ("image_seg",),
}
"""The result fields that may carry a produced symbol, under the reference implementation's names."""


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
        produces: session state that a call adds, by the result field that carries it.
        parts: names of the skills that a composite runs; a deployment that offers it must offer them too.
        version: enters cache keys; raise it when the same call starts to give another result.
    """

    name: str
    summary: str
    description: str
    args_model: type[SkillArgs]
    result_model: type[SkillResult]
    aliases: tuple[str, ...] = ()
    consumes: frozenset[Symbol] = field(default_factory=frozenset)
    produces: Mapping[str, Symbol] = field(default_factory=dict, hash=False)
    parts: tuple[str, ...] = ()
    version: str = "1"

    @classmethod
    def of(cls, skill: type[BaseSkill[Any, Any]]) -> SkillSpec:
        """The spec of a skill class.

        Raises:
            TypeError: the class lacks a name, a docstring, or the result field of something that it produces; the
                message says what to write.
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
            produces={_carrier(skill, symbol): symbol for symbol in sorted(skill.produces)},
            parts=tuple(part.name for part in skill.parts),
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
            "produces": dict(self.produces),
            "parts": list(self.parts),
            "version": self.version,
            "arguments": self.args_schema(),
            "result": self.result_schema(),
        }


def _carrier(skill: type[BaseSkill[Any, Any]], symbol: Symbol) -> str:
    """The result field that carries a produced symbol."""
    names = RESULT_FIELDS.get(symbol, ())
    for name in names:
        if name in skill.Result.model_fields:
            return name
    wanted = " or ".join(f"`{name}`" for name in names)
    raise TypeError(
        f"{skill.__qualname__} produces {symbol}, so its Result needs a field {wanted}."
        if names
        else f"{skill.__qualname__} cannot produce {symbol}: it is what a person gives."
    )
