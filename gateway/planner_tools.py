"""What the planner knows about each tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from services.core.spec import SkillSpec

PlannerUse = Literal["learned", "described", "none"]


@dataclass(frozen=True, slots=True)
class PlannerTools:
    """Which tools the planner is told of, all when None, and which of them it was trained to use."""

    told: frozenset[str] | None = None
    learned: frozenset[str] = frozenset()

    def use(self, skill: str) -> PlannerUse:
        """How the planner knows a tool, if it does."""
        if self.told is not None and skill not in self.told:
            return "none"
        return "learned" if skill in self.learned else "described"

    def describe(self, spec: SkillSpec) -> dict[str, Any]:
        """The tool as data, for every list of tools."""
        return spec.describe() | {"planner": self.use(spec.name)}


TOLD_OF_ALL = PlannerTools()
