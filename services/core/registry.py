"""Finds skills: the modules of `services.skills` and the entry points in group `llava_plus.skills`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any

from services.core.errors import UnknownSkill
from services.core.skill import BaseSkill
from services.core.spec import SkillSpec

ENTRY_POINT_GROUP = "llava_plus.skills"
BUILT_IN = "services.skills"

SkillClass = type[BaseSkill[Any, Any]]


class DuplicateSkill(RuntimeError):
    """Two skills claim one name: rename one of them."""


class Registry:
    """Skills by name and alias.

    Raises:
        DuplicateSkill: a name or alias is taken twice; the message names both classes.
    """

    def __init__(self, skills: Iterable[SkillClass]) -> None:
        self._by_name: dict[str, SkillClass] = {}
        self._specs: dict[str, SkillSpec] = {}
        for skill in skills:
            spec = skill.spec()
            for name in spec.names:
                taken = self._by_name.get(name)
                if taken is not None:
                    raise DuplicateSkill(f"The skill name {name!r} is taken by {_path(taken)} and {_path(skill)}.")
                self._by_name[name] = skill
            self._specs[spec.name] = spec

    def specs(self) -> list[SkillSpec]:
        return [self._specs[name] for name in sorted(self._specs)]

    def skill(self, name: str) -> SkillClass:
        """The class behind a name or alias.

        Raises:
            UnknownSkill: the message lists the known names.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownSkill(f"No skill is called {name!r}. Known: {', '.join(sorted(self._specs))}.") from None

    def spec(self, name: str) -> SkillSpec:
        return self._specs[self.skill(name).name]


def discover() -> Registry:
    """All installed skills."""
    return Registry([*_built_in(), *(_loaded(point) for point in entry_points(group=ENTRY_POINT_GROUP))])


def _built_in() -> Iterator[SkillClass]:
    package = importlib.import_module(BUILT_IN)
    for module_info in pkgutil.iter_modules(package.__path__, f"{BUILT_IN}."):
        yield from skills_of(importlib.import_module(module_info.name))


def skills_of(module: Any) -> Iterator[SkillClass]:
    """The skill classes that a module defines itself (imported ones belong to their own module)."""
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, BaseSkill) and not inspect.isabstract(member) and member.__module__ == module.__name__:
            yield member


def _loaded(point: Any) -> SkillClass:
    loaded = point.load()
    if not (inspect.isclass(loaded) and issubclass(loaded, BaseSkill)):
        raise TypeError(f"Entry point {point.name!r} in {ENTRY_POINT_GROUP} must name a Skill subclass.")
    return loaded


def _path(skill: SkillClass) -> str:
    return f"{skill.__module__}.{skill.__qualname__}"
