"""Skills made of skills: they say which ones they run and how results flow, and have no model of their own.

A composite is plain asynchronous Python over one small protocol, `PartRunner`. In a replica the parts are the
deployed skills themselves, wherever they run; without Ray `LocalParts` runs them in this process.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from services.core.errors import SkillError, UnknownSkill
from services.core.lane import Lane
from services.core.skill import ArgsT, BaseSkill, ResultT, Skill, SkillCall
from services.core.spec import Symbol
from services.core.types import SkillArgs, SkillResult

Pictures = Mapping[Symbol, Any]
"""The call's pictures by what they are for, in the form that the runner keeps them in: to be passed on as they are."""

PartArgsT = TypeVar("PartArgsT", bound=SkillArgs)
PartResultT = TypeVar("PartResultT", bound=SkillResult)


class PartRunner(Protocol):
    """Runs the parts of one composite call, under its deadline and request id."""

    async def run(
        self, part: type[BaseSkill[PartArgsT, PartResultT]], args: PartArgsT, images: Pictures
    ) -> PartResultT:
        """Call one part with (some of) the composite's pictures.

        Raises:
            SkillError: the part's own error; left alone, it is the composite's answer.
        """
        ...


class Composite(BaseSkill[ArgsT, ResultT]):
    """A skill that runs others.

    Subclasses set `name`, `Args`, `Result` and `parts`, and write `compose`. Calls that are at work at the same time
    share the batches of their parts.
    """

    parts: ClassVar[tuple[type[BaseSkill[Any, Any]], ...]]

    @abstractmethod
    async def compose(self, args: ArgsT, images: Pictures, parts: PartRunner) -> ResultT:
        """Answer one call.

        Raises:
            SkillError: this call cannot be answered.
        """


class LocalParts:
    """Implements `PartRunner` in this process, on decoded pictures: for scripts, benchmarks and tests.

    Args:
        skills: the parts, configured; each is set up at its first call, or by `load`.
        max_batch_size: most calls that a part answers at once.
    """

    def __init__(self, skills: Iterable[Skill[Any, Any]], max_batch_size: int = 4) -> None:
        self._lanes = {skill.name: Lane(skill, max_batch_size) for skill in skills}

    def load(self) -> None:
        """Set all parts up now. Blocking."""
        for lane in self._lanes.values():
            lane.load()

    async def run(
        self, part: type[BaseSkill[PartArgsT, PartResultT]], args: PartArgsT, images: Pictures
    ) -> PartResultT:
        lane = self._lanes.get(part.name)
        if lane is None:
            raise UnknownSkill(f"{part.name} is not among the given parts.")
        served = await lane.submit(SkillCall(args, images), deadline=math.inf)
        if isinstance(served.answer, SkillError):
            raise served.answer
        return cast(PartResultT, served.answer)

    def close(self) -> None:
        """Let the parts' threads end."""
        for lane in self._lanes.values():
            lane.close()
