"""The base class of every skill: plain Python, no Ray, runs anywhere.

A skill is one file: `Args`, `Result`, and a class with `setup` and `predict`. Transport, batching,
metrics, deadlines and error mapping belong to `services.core.server`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from services.core.errors import SkillError
from services.core.spec import SkillSpec, Symbol
from services.core.types import SkillArgs, SkillResult

ArgsT = TypeVar("ArgsT", bound=SkillArgs)
ResultT = TypeVar("ResultT", bound=SkillResult)
Report = Callable[[int, int], None]
"""Takes how many steps of a call are done, and of how many; from any thread."""


def unheard(step: int, steps: int) -> None:
    """A report to nobody."""


@dataclass(frozen=True, slots=True)
class SkillCall(Generic[ArgsT]):
    """One call inside a batch: validated arguments and decoded pictures by what they are for.

    Pictures are RGB, EXIF rotation applied. They may be shared with other calls: do not write to them. A skill that
    works in steps tells `report` after each of them, for those who wait.
    """

    args: ArgsT
    images: Mapping[Symbol, Image.Image] = field(default_factory=dict)
    report: Report = unheard

    @property
    def image(self) -> Image.Image:
        """The picture that the call is about.

        Raises:
            KeyError: the skill does not list `Symbol.IMAGE` in `consumes`.
        """
        return self.images[Symbol.IMAGE]


class BaseSkill(ABC, Generic[ArgsT, ResultT]):
    """What every skill declares, whether it has a model (`Skill`) or runs other skills (`Composite`).

    The docstring's first line tells planners what the skill does. `produces` names session state that a call adds;
    `services.core.spec.RESULT_FIELDS` says which fields of the result carry it.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    consumes: ClassVar[frozenset[Symbol]] = frozenset({Symbol.IMAGE})
    produces: ClassVar[frozenset[Symbol]] = frozenset()
    version: ClassVar[str] = "1"
    parts: ClassVar[tuple[type[BaseSkill[Any, Any]], ...]] = ()
    Args: type[SkillArgs]
    Result: type[SkillResult]

    @classmethod
    def spec(cls) -> SkillSpec:
        return SkillSpec.of(cls)


class Skill(BaseSkill[ArgsT, ResultT]):
    """One vision tool with a model of its own.

    Subclasses set `name`, `Args` and `Result`, load weights in `setup` and answer in `predict`.
    `default_checkpoint` names the weights that answer when no `checkpoint` is configured.
    """

    default_checkpoint: ClassVar[str] = "built-in"

    def __init__(self, checkpoint: str | None = None, device: str = "cpu", **options: Any) -> None:
        """Keep the configuration; load nothing.

        Args:
            checkpoint: hub id, local folder or file; None means the skill's own default.
            device: torch device the weights go to, for example "cpu" or "cuda:0".
            options: skill-specific settings from the profile.
        """
        self.checkpoint = checkpoint
        self.device = device
        self.options = options

    def setup(self) -> None:
        """Load the weights. Called once, before the first `predict`."""

    @abstractmethod
    def predict(self, batch: Sequence[SkillCall[ArgsT]]) -> Sequence[ResultT | SkillError]:
        """Answer a batch, in order, one result or error a call.

        An error in the list concerns its own call. When an exception is raised for a batch, the server
        tries its calls one by one, so that only those at fault fail.
        """
