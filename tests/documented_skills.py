"""All installed skills by their real specs, answering with the smallest result that fits its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from gateway.ports import ImageStore, SkillOutcome
from services.core.context import CallContext
from services.core.errors import BadArguments, UnknownSkill
from services.core.registry import discover
from services.core.spec import SkillSpec, Symbol
from tests.gateway_fakes import picture

MASK = {"size": [2, 2], "counts": "04"}


@dataclass
class DocumentedSkills:
    """Implements `gateway.ports.SkillClient`; arguments are checked as in production."""

    images: ImageStore | None = None
    offered: Sequence[SkillSpec] = field(default_factory=lambda: discover().specs())

    def with_store(self, images: ImageStore) -> DocumentedSkills:
        self.images = images
        return self

    def specs(self) -> Sequence[SkillSpec]:
        return self.offered

    def resolve(self, name: str) -> SkillSpec:
        for spec in self.offered:
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}.")

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {spec.name: True for spec in self.offered}

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        spec = self.resolve(skill)
        try:
            spec.args_model.model_validate(args)
        except ValidationError as error:
            raise BadArguments.from_validation(skill, error) from None
        assert self.images is not None
        made = await self.images.put(picture(), owner=context.owner)
        schema = spec.result_schema()
        result = smallest(schema, schema.get("$defs", {}), made.id)
        spec.result_model.model_validate(result)
        pictures = {name: made.id for name, value in result.items() if value == made.id}
        return SkillOutcome(skill, result, "fake/weights", compute_ms=1.0, wait_ms=0.0, pictures=pictures)


def smallest(schema: Mapping[str, Any], defs: Mapping[str, Any], handle: str) -> Any:
    """A value that fits a JSON schema of a result; lists have one item, pictures are `handle`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return MASK if name == "MaskRLE" else smallest(defs[name], defs, handle)
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0], defs, handle)
    kind = schema.get("type")
    if kind == "object":
        return {name: smallest(inner, defs, handle) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return [smallest(item, defs, handle) for item in items]
    if kind == "string":
        return handle if schema.get("pattern", "").startswith("^img_") else "cat"
    return {"number": 0.5, "integer": schema.get("minimum", 0), "boolean": True}.get(str(kind))
