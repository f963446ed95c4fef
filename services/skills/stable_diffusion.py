"""Pictures from text with Stable Diffusion (Rombach et al., arXiv 2112.10752)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.diffusion.contract import DiffusionOptions, PaintArgs
from services.models.diffusion.skill import Canvas, DiffusionSkill

_Side = Annotated[int, Field(ge=64, le=2048)]


class StableDiffusionArgs(PaintArgs):
    """Arguments of stable_diffusion."""

    size: tuple[_Side, _Side] | None = Field(
        None, description="[width, height] in pixels, 64 to 2048 each; the checkpoint's own size when absent."
    )


class StableDiffusionOptions(DiffusionOptions):
    """Settings of stable_diffusion."""

    output_side: int | None = Field(
        None, ge=64, le=2048, description="Side of a square result when the call names no size; `side` when absent."
    )


class StableDiffusion(DiffusionSkill[StableDiffusionArgs]):
    """Paints a new picture from a description.

    It is painted near the size that the checkpoint was trained at and brought to the size asked for.
    """

    name = "stable_diffusion"
    aliases = ("sd", "stable-diffusion")
    consumes: ClassVar[frozenset[Symbol]] = frozenset()
    default_checkpoint = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    pipeline = "StableDiffusionPipeline"
    Args = StableDiffusionArgs
    Options = StableDiffusionOptions
    settings: StableDiffusionOptions

    def canvas(self, call: SkillCall[StableDiffusionArgs]) -> Canvas:
        side = self.settings.output_side or self.side
        size = call.args.size or (side, side)
        width, height = self.working_size(size)
        return Canvas(size=size, working=(width, height), settings=(("width", width), ("height", height)))
