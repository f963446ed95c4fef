"""Reads the JSON that real models write: single quotes, trailing commas, code fences. Never `eval`."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import json_repair

from planner.format import UnparsableOutput

_FENCE = re.compile(r"^\s*```[a-zA-Z0-9]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_FENCED_PLAN = re.compile(r"^```(?:json)?[ \t]*\n\s*([{\[].*?[}\]])\s*```\s*$", re.DOTALL | re.MULTILINE)
_CLOSERS = ("}", "]")
_BRACKET = re.compile(r"[\[\]{}]")
_DEPTH_MAX = 64
"""What parses recursively, here and in whatever handles the result later, must end long before the stack does."""


def without_fence(text: str) -> str:
    """The inside of a Markdown code fence that holds all of `text`, or the one fenced plan in prose; else `text`."""
    fenced = _FENCE.match(text)
    if fenced:
        return fenced.group(1).strip()
    plans = [] if text.lstrip()[:1] in ("{", "[") else _FENCED_PLAN.findall(text)
    return (plans[0] if len(plans) == 1 else text).strip()


def without_nulls(value: Any) -> Any:
    """An object without the fields that are null: what a model leaves out so, it means to be empty."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def loads(text: str) -> Any:
    """JSON, or what was surely meant by something near it.

    Text that does not end like an object or a list is not guessed at: half an argument must never be called with. Of
    several objects the first counts: a model that goes on after its plan makes up what came of it.

    Raises:
        UnparsableOutput: not JSON, nor near it, or with a number such as NaN, which JSON cannot carry on.
    """
    inside = without_fence(text)
    if _depth(inside) > _DEPTH_MAX:
        raise UnparsableOutput(f"not a plan: brackets are nested more than {_DEPTH_MAX} deep", text)
    read = _read(inside, text)
    if not _finite(read):
        raise UnparsableOutput("not a plan: a number is not finite", text)
    return read


def _read(inside: str, text: str) -> Any:
    try:
        return json.loads(inside)
    except ValueError as error:
        reason = f"not JSON: {error}"
    if inside[:1] in ("{", "[") and inside.endswith(_CLOSERS):
        first = _first_of_several(inside)
        if first is not None:
            return first
        try:
            repaired = json_repair.loads(inside, skip_json_loads=True)
        except ValueError:
            repaired = None
        if isinstance(repaired, dict | list):
            return repaired
    raise UnparsableOutput(reason, text)


def _first_of_several(text: str) -> Any:
    """The first of several objects in a row, None where there is but one or none is whole."""
    try:
        first, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    return first if text[end:].lstrip().startswith("{") else None


def _finite(value: Any) -> bool:
    """Whether all numbers are."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _depth(text: str) -> int:
    """How deep brackets are nested, at most: those in texts are counted too."""
    deepest = depth = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest
