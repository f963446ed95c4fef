"""Reads the JSON that real models write: single quotes, trailing commas, code fences. Never `eval`."""

from __future__ import annotations

import json
import re
from typing import Any

import json_repair

from planner.format import UnparsableOutput

_FENCE = re.compile(r"^\s*```[a-zA-Z0-9]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_CLOSERS = ("}", "]")
_BRACKET = re.compile(r"[\[\]{}]")
_DEPTH_MAX = 64
"""What parses recursively, here and in whatever handles the result later, must end long before the stack does."""


def without_fence(text: str) -> str:
    """The inside of a Markdown code fence that holds all of `text`, else `text`; without surrounding space."""
    fenced = _FENCE.match(text)
    return (fenced.group(1) if fenced else text).strip()


def loads(text: str) -> Any:
    """JSON, or what was surely meant by something near it.

    Text that does not end like an object or a list is not guessed at: half an argument must never be called with.

    Raises:
        UnparsableOutput: not JSON, nor near it.
    """
    inside = without_fence(text)
    if _depth(inside) > _DEPTH_MAX:
        raise UnparsableOutput(f"not a plan: brackets are nested more than {_DEPTH_MAX} deep", text)
    try:
        return json.loads(inside)
    except ValueError as error:
        reason = f"not JSON: {error}"
    if inside[:1] in ("{", "[") and inside.endswith(_CLOSERS):
        try:
            repaired = json_repair.loads(inside, skip_json_loads=True)
        except ValueError:
            repaired = None
        if isinstance(repaired, dict | list):
            return repaired
    raise UnparsableOutput(reason, text)


def _depth(text: str) -> int:
    """How deep brackets are nested, at most: those in texts are counted too."""
    deepest = depth = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
