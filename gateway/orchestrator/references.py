"""How an action names what another call gave: `"$1.boxes"`, `"$grounding_dino.boxes.0"`, or `{"$ref": "1.boxes"}`.

The source is the number of an action in the same plan (from 1), a skill's name or alias (its newest result: an action
before this one in the plan, else an earlier step, else an earlier turn), or `user` for what a person marked. After it
stand the result's field and, where a part of it is meant, positions (from 0) and field names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from services.core.errors import BadArguments

USER = "user"
"""The source of points, boxes and the like that came with a person's message."""

_BODY = re.compile(r"(?P<source>[A-Za-z0-9_+\-]+)\.(?P<path>[A-Za-z_]\w*(?:\.\w+|\[\d+\])*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A part of a call's result: field names and list positions, outermost first."""

    source: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"${self.source}.{'.'.join(str(step) for step in self.path)}"

    @property
    def position(self) -> int | None:
        """The index (from 0) of the action in the same plan, where the source is a number."""
        return int(self.source) - 1 if self.source.isdecimal() else None


def reference(value: Any) -> Reference | None:
    """The reference that `value` is, None where it is an ordinary value ("$1.50" is a price).

    Raises:
        BadArguments: it wants to be a reference and is none.
    """
    if isinstance(value, str):
        found = _BODY.fullmatch(value, 1) if value.startswith("$") else None
        return _reference(found) if found else None
    if isinstance(value, dict) and value.keys() == {"$ref"}:
        written = str(value["$ref"]).removeprefix("$")
        found = _BODY.fullmatch(written)
        if found is None:
            raise BadArguments(
                f'"{written[:60]}" is no reference: write the number of an action of this plan, or a tool\'s name, a '
                'dot, and the field, for example "$1.boxes".'
            )
        return _reference(found)
    return None


def references_in(value: Any) -> Iterator[Reference]:
    """All references in an argument, however deep. Raises as `reference`."""
    found = reference(value)
    if found is not None:
        yield found
    elif isinstance(value, dict):
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references_in(item)


def substituted(value: Any, look_up: Callable[[Reference], Any]) -> Any:
    """The argument with every reference replaced by what it means."""
    found = reference(value)
    if found is not None:
        return look_up(found)
    if isinstance(value, dict):
        return {key: substituted(item, look_up) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [substituted(item, look_up) for item in value]
    return value


def part_of(result: Any, found: Reference) -> Any:
    """What a reference means in a result.

    Raises:
        BadArguments: the result has no such part (fewer objects were found than the reference counts on).
    """
    value = result
    for step in found.path:
        if isinstance(value, list) and isinstance(step, int):
            if step >= len(value):
                raise BadArguments(f"{found}: there is no position {step}, the list has {len(value)} items.")
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            raise BadArguments(f"{found}: the result has no {step!r}.")
    if value is None:
        raise BadArguments(f"{found}: the result has no value there.")
    return value


def _reference(found: re.Match[str]) -> Reference:
    steps = re.findall(r"\w+", found["path"], re.ASCII)
    return Reference(found["source"], tuple(int(step) if step.isdecimal() else step for step in steps))
