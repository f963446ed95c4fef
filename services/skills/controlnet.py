"""Pictures from a segmentation map and text with ControlNet (Zhang et al., arXiv 2302.05543)."""

from __future__ import annotations

from pydantic import Field

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.diffusion.contract import DiffusionOptions, PaintArgs
from services.models.diffusion.geometry import resized_labels
from services.models.diffusion.skill import Canvas, DiffusionSkill


class ControlNetArgs(PaintArgs):
    """Arguments of controlnet."""

    control: float | None = Field(
        None, ge=0.0, le=2.0, description="How closely to keep to the segmentation map; the checkpoint's default."
    )


class ControlNetOptions(DiffusionOptions):
    """Settings of controlnet. The checkpoint is a ControlNet; `base` is the pipeline that it steers."""

    base: str | None = Field(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        description="Pipeline that the ControlNet steers; null when the checkpoint is a whole pipeline.",
    )
    control: float = Field(1.0, ge=0.0, le=2.0, description="Conditioning scale of a call that names none.")


class ControlNet(DiffusionSkill[ControlNetArgs]):
    """Paints a new picture that follows a segmentation map and a description.

    The map uses the colours of ADE20K, as openseed gives it; the result has the map's size.
    """

    name = "controlnet"
    consumes = frozenset({Symbol.IMAGE_SEG})
    default_checkpoint = "lllyasviel/sd-controlnet-seg"
    pipeline = "StableDiffusionControlNetPipeline"
    component = "controlnet"
    Args = ControlNetArgs
    Options = ControlNetOptions
    settings: ControlNetOptions

    def canvas(self, call: SkillCall[ControlNetArgs]) -> Canvas:
        segments = call.images[Symbol.IMAGE_SEG]
        working = self.working_size(segments.size)
        asked = call.args.control
        return Canvas(
            size=segments.size,
            working=working,
            pictures={"image": resized_labels(segments, working)},
            settings=(
                ("width", working[0]),
                ("height", working[1]),
                ("controlnet_conditioning_scale", self.settings.control if asked is None else asked),
            ),
        )
