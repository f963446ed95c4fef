"""Reads the JSON that real models write: single quotes, trailing commas, code fences. Never `eval`."""

from __future__ import annotations

import json
import re
from typing import Any

import json_repair

from planner.format import UnparsableOutput

_FENCE = re.compile(r"^\s*```[a-zA-Z0-9]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_CLOSERS = ("}", "]")


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
    try:
        return json.loads(inside)
    except ValueError as error:
        reason = f"not JSON: {error}"
    if inside[:1] in ("{", "[") and inside.endswith(_CLOSERS):
        repaired = json_repair.loads(inside, skip_json_loads=True)
        if isinstance(repaired, dict | list):
            return repaired
    raise UnparsableOutput(reason, text)
