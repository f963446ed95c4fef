"""JSON schemas as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "at least {} long"),
    ("maxLength", "at most {} long"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
)
_SIMPLE = {"string": "text", "boolean": "true or false", "object": "object"}


def reference(schema: Schema) -> str | None:
    """The name of the component that a schema refers to."""
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else None


def type_of(schema: Schema) -> str:
    """A schema in words, with links to the types that it refers to."""
    name = reference(schema)
    if name is not None:
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = dict.fromkeys(type_of(one) for one in schema[several] if one.get("type") != "null")
            return " or ".join(kinds)
    return _limited(schema, _plain(schema))


def fields_table(schema: Schema, *, skip: Sequence[str] = (), title: str = "field") -> list[str]:
    """The properties of an object, one a row; none for an object without."""
    properties = {name: inner for name, inner in schema.get("properties", {}).items() if name not in skip}
    if not properties:
        return []
    required = set(schema.get("required", ()))
    rows = [f"| {title} | type | default | |", "|---|---|---|---|"]
    for name, inner in properties.items():
        rows.append(_row(f"`{name}`", type_of(inner), _default(inner, name in required), inner.get("description", "")))
    return [*rows, ""]


def parameters_table(parameters: Sequence[Schema]) -> list[str]:
    """Path, query and header parameters, one a row."""
    if not parameters:
        return []
    rows = ["| parameter | in | type | default | |", "|---|---|---|---|---|"]
    for one in parameters:
        schema = one["schema"]
        text = one.get("description") or schema.get("description", "")
        default = _default(schema, bool(one.get("required")))
        rows.append(_row(f"`{one['name']}`", one["in"], type_of(schema), default, text))
    return [*rows, ""]


def references_in(schema: Any) -> list[str]:
    """The names of all components that a schema refers to, in their order."""
    if isinstance(schema, Mapping):
        own = reference(schema)
        inner = [name for value in schema.values() for name in references_in(value)]
        return ([own] if own else []) + inner
    if isinstance(schema, list):
        return [name for value in schema for name in references_in(value)]
    return []


def _plain(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array" and schema.get("description", "").startswith("["):
        return str(schema["description"]).partition("]")[0] + "]"
    if kind == "array" and "prefixItems" in schema:
        return "[" + ", ".join(_plain(one) for one in schema["prefixItems"]) + "]"
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "string" and schema.get("pattern", "").startswith("^img_"):
        return "handle"
    if kind == "string" and (schema.get("format") == "binary" or "contentMediaType" in schema):
        return "file"
    return _SIMPLE.get(str(kind), str(kind or "any"))


def _limited(schema: Schema, plain: str) -> str:
    limits = [
        text.format(_number(schema[name])) for name, text in _BOUNDS if name in schema and abs(schema[name]) < 2**53
    ]
    if schema.get("type") == "array" and "prefixItems" in schema:
        return plain
    return ", ".join([plain, *limits])


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _default(schema: Schema, required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "" if default is None else f"`{json.dumps(default)}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ").strip() for cell in cells) + " |"
