"""Putting calls that can share a forward pass together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


def grouped(keys: Iterable[Hashable]) -> list[list[int]]:
    """Indices of equal keys together, in order of first appearance."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())
