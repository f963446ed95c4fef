"""Text forms of planner output: one dialect per file, all for the same internal model."""

from __future__ import annotations

from collections.abc import Callable, Collection

from planner.dialects.base import Dialect
from planner.dialects.json_dialect import JsonDialect
from planner.dialects.llava_plus_v0 import LlavaPlusV0Dialect
from planner.dialects.openai_tools import OpenAIToolsDialect


def dialect(name: str, learned: Collection[str] = ()) -> Dialect:
    """The dialect called `name`.

    Args:
        learned: names of the skills that the model was trained to use, which `json` need not describe to it; the
            other dialects describe all.

    Raises:
        ValueError: there is none; the message lists those that are.
    """
    known: dict[str, Callable[[], Dialect]] = {
        "json": lambda: JsonDialect(learned),
        "llava_plus_v0": LlavaPlusV0Dialect,
        "openai_tools": OpenAIToolsDialect,
    }
    if name not in known:
        raise ValueError(f"No dialect is called {name!r}. Known: {', '.join(sorted(known))}.")
    return known[name]()
