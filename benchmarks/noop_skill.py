"""A skill that does nothing: what is measured around it is the platform."""

from __future__ import annotations

from collections.abc import Sequence

from services.core.errors import SkillError
from services.core.skill import Skill, SkillCall
from services.core.types import SkillArgs, SkillResult


class NoopArgs(SkillArgs):
    """No arguments."""


class NoopResult(SkillResult):
    """Nothing but that it was answered."""

    ok: bool = True


class Noop(Skill[NoopArgs, NoopResult]):
    """Answers at once."""

    name = "noop"
    consumes = frozenset()
    Args = NoopArgs
    Result = NoopResult

    def predict(self, batch: Sequence[SkillCall[NoopArgs]]) -> Sequence[NoopResult | SkillError]:
        return [NoopResult() for _ in batch]
