"""Types of results and arguments, read off their JSON schemas: whether one may be given where another is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel

from services.core.types import IMAGE_ID_PATTERN

MASK_TITLE = "MaskRLE"
_WORDS = {"string": "text", "number": "a number", "integer": "a whole number", "boolean": "true or false"}


class Fit(Enum):
    """How a value is brought into the form that is wanted."""

    AS_IS = "as it is"
    WRAPPED = "as the only item of a list"
    JOINED = "several texts as one, parted by ' . '"

    def apply(self, value: Any) -> Any:
        if self is Fit.WRAPPED:
            return [value]
        return " . ".join(value) if self is Fit.JOINED else value


@dataclass(frozen=True)
class Shape:
    """A node of a JSON schema with the definitions that it refers to."""

    node: Mapping[str, Any]
    defs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def alternatives(self) -> Iterator[Shape]:
        """The shape without references and unions; null is left out: a missing value is found when it is used."""
        name = self.node.get("$ref")
        if name is not None:
            yield from self._child(self.defs.get(str(name).rpartition("/")[2], {})).alternatives()
            return
        for union in ("anyOf", "oneOf", "allOf"):
            if union in self.node:
                for node in self.node[union]:
                    yield from self._child(node).alternatives()
                return
        if self.node.get("type") != "null":
            yield self

    def at(self, path: Sequence[str | int]) -> Shape | None:
        """The shape of a part; None where there cannot be one."""
        if not path:
            return self
        for one in self.alternatives():
            child = one._step(path[0])
            found = child.at(path[1:]) if child is not None else None
            if found is not None:
                return found
        return None

    @property
    def kind(self) -> str | None:
        """JSON's name of the type, None where anything goes."""
        if "const" in self.node or "enum" in self.node:
            values = self.node.get("enum", [self.node.get("const")])
            return "string" if all(isinstance(value, str) for value in values) else "integer"
        return self.node.get("type")

    @property
    def is_picture(self) -> bool:
        return any(one.node.get("pattern") == IMAGE_ID_PATTERN for one in self.alternatives())

    @property
    def is_mask(self) -> bool:
        """One mask or a list of them."""
        for one in self.alternatives():
            item = one.item() if one.kind == "array" else one
            if item is not None and any(inner.node.get("title") == MASK_TITLE for inner in item.alternatives()):
                return True
        return False

    def item(self, index: int = 0) -> Shape | None:
        """The shape of a list's item."""
        prefix = self.node.get("prefixItems")
        if prefix:
            return self._child(prefix[index]) if index < len(prefix) else None
        return self._child(self.node.get("items", {}))

    def words(self) -> str:
        """For an error message."""
        for one in self.alternatives():
            if one.is_picture:
                return "a picture"
            if one.node.get("title") == MASK_TITLE:
                return "a mask"
            if one.kind == "array":
                prefix, item = one.node.get("prefixItems"), one.item()
                plural = f"{len(prefix)} numbers" if prefix else (item or Shape({})).words()
                return f"a list of {plural.removeprefix('a ')}"
            return _WORDS.get(one.kind or "", "an object")
        return "nothing"

    def _step(self, step: str | int) -> Shape | None:
        if self.kind == "array":
            return self.item(step) if isinstance(step, int) else None
        if self.kind == "object" and isinstance(step, str):
            properties = self.node.get("properties", {})
            if step in properties:
                return self._child(properties[step])
            extra = self.node.get("additionalProperties", False)
            return self._child(extra if isinstance(extra, dict) else {}) if extra else None
        return self if self.kind is None else None

    def _child(self, node: Mapping[str, Any]) -> Shape:
        return Shape(node, self.defs)


@lru_cache(maxsize=256)
def shape_of(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> Shape:
    """The shape of a model: of its values as they are given (`validation`) or as they come out."""
    schema = model.model_json_schema(mode=mode, by_alias=False)
    return Shape(schema, schema.get("$defs", {}))


def field_named(model: type[BaseModel], name: str) -> str | None:
    """The field that an argument's name or alias means."""
    for known, info in model.model_fields.items():
        alias = info.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias]
        if name == known or name in others or name == info.alias:
            return known
    return None


def fit(given: Shape, wanted: Shape) -> Fit | None:
    """How `given` may be given where `wanted` is wanted; None where it may not."""
    if _fits(given, wanted):
        return Fit.AS_IS
    for one in wanted.alternatives():
        item = one.item() if one.kind == "array" else None
        if item is not None and _fits(given, item):
            return Fit.WRAPPED
    text, texts = Shape({"type": "string"}), Shape({"type": "array", "items": {"type": "string"}})
    return Fit.JOINED if _fits(given, texts) and _fits(text, wanted) else None


def _fits(given: Shape, wanted: Shape) -> bool:
    return any(_fits_one(one, other) for one in given.alternatives() for other in wanted.alternatives())


def _fits_one(given: Shape, wanted: Shape) -> bool:
    kinds = (given.kind, wanted.kind)
    if None in kinds:
        return True
    if kinds == ("integer", "number"):
        return True
    if given.kind != wanted.kind:
        return False
    if given.kind == "array":
        length = max(len(shape.node.get("prefixItems", ())) for shape in (given, wanted)) or 1
        pairs = [(given.item(index), wanted.item(index)) for index in range(length)]
        return all(one is not None and other is not None and _fits(one, other) for one, other in pairs)
    if given.kind == "object":
        return set(wanted.node.get("required", ())) <= set(given.node.get("properties", ()))
    return given.is_picture == wanted.is_picture
