"""A skill's call as a JSON schema for planners: its arguments, references to other calls' results, named pictures."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from services.core.spec import SkillSpec

REFERENCE_PATTERN = r"^\$[A-Za-z0-9_+-]+(\.[A-Za-z0-9_]+)+$"
"""A part of another call's result: "$1.boxes", "$grounding_dino.boxes.0"; the gateway's orchestrator reads it."""

_REFERENCE = {"type": "string", "pattern": REFERENCE_PATTERN, "description": 'A result, for example "$1.boxes".'}
_PICTURE = {
    "type": "string",
    "description": 'A name such as "image 2", or a result such as "$1.edited_image"; the newest when left out.',
}


def call_schema(spec: SkillSpec) -> dict[str, Any]:
    """The schema of `API_params`; it may have `$defs` and belongs to the caller."""
    return copy.deepcopy(_call_schema(spec))


@lru_cache(maxsize=256)
def _call_schema(spec: SkillSpec) -> dict[str, Any]:
    schema = spec.args_schema()
    properties = schema.setdefault("properties", {})
    for name, node in properties.items():
        # Texts need no alternative: a reference is a text.
        if _is_list(node):
            properties[name] = {"anyOf": [*node.get("anyOf", [_bare(node)]), _REFERENCE]} | _described(node)
    for symbol in sorted(spec.consumes):
        properties.setdefault(str(symbol), _PICTURE)
    return schema


def _is_list(node: dict[str, Any]) -> bool:
    return any(one.get("type") == "array" for one in node.get("anyOf", [node]))


def _described(node: dict[str, Any]) -> dict[str, Any]:
    return {name: node[name] for name in ("title", "description", "default") if name in node}


def _bare(node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in ("title", "description", "default")}
