"""Small skills that core tests drive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from PIL import Image
from pydantic import Field

from services.core.composite import Composite, PartRunner, Pictures
from services.core.errors import BadArguments, SkillError
from services.core.skill import Skill, SkillCall
from services.core.spec import Symbol
from services.core.types import MaskRLE, Picture, SkillArgs, SkillResult


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


class Stepper(Echo):
    """Says the text back in three steps, and waits after the first where its gate is shut."""

    name = "stepper"
    aliases = ()

    def predict(self, batch: Sequence[SkillCall[EchoArgs]]) -> Sequence[EchoResult | SkillError]:
        for step in (1, 2, 3):
            for call in batch:
                call.report(step, 3)
            self.gate.wait(10)
        return super().predict(batch)


class Late(Echo):
    """Cannot be loaded the first time."""

    name = "late"
    aliases = ()
    loads = 0

    def setup(self) -> None:
        Late.loads += 1
        if Late.loads == 1:
            raise OSError("/internal/path has no weights")
        super().setup()


class Looker(Skill[SkillArgs, EchoResult]):
    """Tells the size of a picture."""

    name = "looker"
    Args = SkillArgs
    Result = EchoResult

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[EchoResult | SkillError]:
        return [EchoResult(text=f"{call.image.width}x{call.image.height}", batch_size=len(batch)) for call in batch]


class SketcherResult(SkillResult):
    """A picture, a map of it, and masks."""

    edited_image: Picture
    image_seg: Picture
    masks_rle: list[MaskRLE] = Field(default_factory=list)


class Sketcher(Skill[SkillArgs, SketcherResult]):
    """Makes pictures."""

    name = "sketcher"
    produces = frozenset({Symbol.IMAGE, Symbol.IMAGE_SEG, Symbol.MASK})
    Args = SkillArgs
    Result = SketcherResult

    def predict(self, batch: Sequence[SkillCall[SkillArgs]]) -> Sequence[SketcherResult | SkillError]:
        return [
            SketcherResult(edited_image=call.image.rotate(180), image_seg=Image.new("RGB", call.image.size, "blue"))
            for call in batch
        ]


class DoubledResult(SkillResult):
    """What was said twice, and the picture turned around."""

    text: str
    turned: Picture


class Doubler(Composite[EchoArgs, DoubledResult]):
    """Says the text twice and turns the picture."""

    name = "echo+sketcher"
    aliases = ("doubler",)
    parts = (Echo, Sketcher)
    Args = EchoArgs
    Result = DoubledResult

    async def compose(self, args: EchoArgs, images: Pictures, parts: PartRunner) -> DoubledResult:
        first, second = await asyncio.gather(*(parts.run(Echo, args, {}) for _ in range(2)))
        sketched = await parts.run(Sketcher, SkillArgs(), images)
        if first.text == "break":
            raise RuntimeError("secret /internal/path")
        return DoubledResult(text=f"{first.text} {second.text}", turned=sketched.edited_image)
