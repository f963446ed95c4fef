"""Turns a skill's name, or a `module:Class` path, into its class."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from services.core.registry import discover
from services.core.skill import BaseSkill


def load_skill(name: str, path: str | None = None) -> type[BaseSkill[Any, Any]]:
    """The class of a registered skill, or of one that only a profile names.

    Args:
        name: the skill's name or alias.
        path: `module:Class`, for a skill outside the registry.

    Raises:
        UnknownSkill: no registered skill has that name.
        TypeError: `path` names no Skill subclass.
        ImportError: `path` cannot be imported.
    """
    if path is None:
        return discover().skill(name)
    module_name, _, class_name = path.partition(":")
    loaded = getattr(importlib.import_module(module_name), class_name, None)
    if not (inspect.isclass(loaded) and issubclass(loaded, BaseSkill)):
        raise TypeError(f"{path!r} must be `module:Class` of a Skill subclass.")
    return loaded
