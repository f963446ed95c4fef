"""Argument values as they are typed, read by the JSON schema that a tool gives for them.

Numbers in a list are separated by commas, lists in a list by semicolons; an option that is given again adds one more
item. So a box is `0.1,0.1,0.5,0.5`, two boxes are two options or `0.1,0.1,0.5,0.5;0.2,0.2,0.9,0.9`, and of lists of
points (`[[[x, y], ...], ...]`) each option is one. What begins with a bracket or a brace is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import UsageError

_NUMBERS = frozenset({"number", "integer"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a schema asks for: lists in lists (`rank`) of scalars of a `kind`; `rank` is None for anything else.

    Attributes:
        kind: "number", "integer", "string", "boolean", or "json".
        choices: the values allowed, if they are listed.
        names: what the innermost list's items mean, where it has a fixed length: ("x", "y").
    """

    kind: str
    rank: int | None
    choices: tuple[Any, ...] = ()
    length: int | None = None

    @property
    def several(self) -> bool:
        """Whether the option may be given more than once."""
        return self.rank is None or self.rank > 1 or (self.rank == 1 and self.length is None)

    @property
    def metavar(self) -> str:
        """How a value is written, for help."""
        if self.rank is None:
            return "JSON"
        if self.choices and not self.rank:
            return "|".join(map(str, self.choices))
        if not self.rank or (self.rank == 1 and self.kind == "string"):
            return "TEXT" if self.kind == "string" else self.kind.upper()
        one = {2: "X,Y", 4: "X0,Y0,X1,Y1"}.get(self.length or 0, "N,...") if self.kind == "number" else "N,..."
        return one


def shape_of(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Shape:
    """The shape of an argument.

    Args:
        root: the schema that holds the definitions.
    """
    schema = _resolved(schema, root)
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items") or {}]
        inner = [shape_of(item, root) for item in items]
        first = inner[0]
        if first.rank is None or any((one.kind, one.rank) != (first.kind, first.rank) for one in inner):
            return Shape("json", None)
        fixed = len(items) if "prefixItems" in schema else None
        return Shape(first.kind, first.rank + 1, first.choices, first.length if first.rank else fixed)
    choices = tuple(schema["enum"]) if "enum" in schema else (schema["const"],) if "const" in schema else ()
    if kind in (*_NUMBERS, "string", "boolean"):
        return Shape(str(kind), 0, choices)
    return Shape("json", None)


def value_of(texts: Sequence[str], shape: Shape, flag: str) -> Any:
    """The value that one option, given once or more, stands for.

    Raises:
        UsageError: it is not written as the shape asks.
    """
    first = texts[0].lstrip()
    if shape.rank is None or (shape.rank and len(texts) == 1 and first.startswith(("[", "{"))):
        return _json(texts, flag)
    if shape.rank == 0:
        return _scalar(texts[-1], shape, flag)
    if shape.rank == 1 and shape.kind == "string":
        return [_scalar(text, shape, flag) for text in texts]
    if shape.rank == 1:
        return [item for text in texts for item in _row(text, shape, flag)]
    rows = [[_row(part, shape, flag) for part in text.split(";") if part.strip()] for text in texts]
    if shape.rank == 2:
        return [row for several in rows for row in several]
    if shape.rank == 3:
        return rows
    raise UsageError(f"{flag}: write this one as JSON.")


def _row(text: str, shape: Shape, flag: str) -> list[Any]:
    row = [_scalar(part.strip(), shape, flag) for part in text.split(",")]
    if shape.length is not None and len(row) != shape.length:
        raise UsageError(f"{flag}: {text!r} has {len(row)} numbers, not {shape.length} ({shape.metavar}).")
    return row


def _scalar(text: str, shape: Shape, flag: str) -> Any:
    try:
        value = _READERS.get(shape.kind, str)(text)
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is no {shape.kind}; write {shape.metavar}.") from None
    if shape.choices and value not in shape.choices:
        raise UsageError(f"{flag}: {text!r} is none of {', '.join(map(str, shape.choices))}.")
    return value


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: Mapping[str, Callable[[str], Any]] = {"number": float, "integer": int, "boolean": _truth}


def _json(texts: Sequence[str], flag: str) -> Any:
    try:
        return json.loads(texts[-1])
    except ValueError as error:
        raise UsageError(f"{flag}: this is not valid JSON: {error}.") from None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without references, and without the null of an argument that may be left out."""
    while True:
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rpartition("/")[2], {})
            continue
        options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if len(options) != 1:
            return schema if not options else {}
        schema = options[0]
