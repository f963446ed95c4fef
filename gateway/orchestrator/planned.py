"""A plan's calls once they are checked: what they need, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.orchestrator.references import Reference
from gateway.orchestrator.shapes import Fit
from services.core.errors import SkillError
from services.core.spec import SkillSpec, Symbol


@dataclass(frozen=True, slots=True)
class FromAction:
    """What another action of the plan produces as a symbol."""

    index: int
    symbol: Symbol


@dataclass(frozen=True, slots=True)
class Source:
    """Where a reference leads: an action of this plan, or a result that there is already and the call that gave it."""

    spec: SkillSpec | None
    index: int | None = None
    result: Mapping[str, Any] | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class PlannedCall:
    """One action, checked.

    Attributes:
        args: as written, references included.
        fits: how the value of a reference is brought into form, by argument.
        inputs: pictures by symbol: a handle, a reference, or what an earlier action produces.
        sources: where the references lead.
        needs: indices of the actions that must have ended before.
        error: why it must not run.
    """

    index: int
    name: str
    params: dict[str, Any]
    spec: SkillSpec | None = None
    args: dict[str, Any] = field(default_factory=dict)
    fits: dict[str, Fit] = field(default_factory=dict)
    inputs: dict[Symbol, str | Reference | FromAction] = field(default_factory=dict)
    sources: dict[Reference, Source] = field(default_factory=dict)
    needs: set[int] = field(default_factory=set)
    error: SkillError | None = None

    @property
    def known_spec(self) -> SkillSpec:
        """The spec of a call whose name has been resolved."""
        assert self.spec is not None, "names are resolved first"
        return self.spec
