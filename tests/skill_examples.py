"""Small skills that core tests drive."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pydantic import Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import Skill, SkillCall
from services.core.types import SkillArgs, SkillResult


class EchoArgs(SkillArgs):
    """What to say back."""

    text: str = Field(min_length=1, description="Said back.")


class EchoResult(SkillResult):
    """What was said, and in a batch of how many."""

    text: str
    batch_size: int


class Echo(Skill[EchoArgs, EchoResult]):
    """Says the text back.

    Fails on purpose for some texts.
    """

    name = "echo"
    aliases = ("parrot",)
    consumes = frozenset()
    default_checkpoint = "no-weights"
    Args = EchoArgs
    Result = EchoResult

    def setup(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def predict(self, batch: Sequence[SkillCall[EchoArgs]]) -> Sequence[EchoResult | SkillError]:
        self.gate.wait(10)
        if any(call.args.text == "crash" for call in batch):
            raise RuntimeError("secret /internal/path")
        return [self._answer(call, len(batch)) for call in batch]

    def _answer(self, call: SkillCall[EchoArgs], batch_size: int) -> EchoResult | SkillError:
        if call.args.text == "refuse":
            return BadArguments("echo does not say that.", argument="text")
        return EchoResult(text=call.args.text, batch_size=batch_size)


class Looker(Skill[SkillArgs, EchoResult]):
    """Tells the size of a picture."""

    name = "looker"
    Args = SkillArgs
    Result = EchoResult

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[EchoResult | SkillError]:
        return [EchoResult(text=f"{call.image.width}x{call.image.height}", batch_size=len(batch)) for call in batch]
