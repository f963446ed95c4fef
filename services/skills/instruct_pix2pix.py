"""Edits by instruction with InstructPix2Pix (Brooks et al., arXiv 2211.09800)."""

from __future__ import annotations

from PIL import Image
from pydantic import Field

from services.core.skill import SkillCall
from services.models.diffusion.contract import DiffusionOptions, PaintArgs
from services.models.diffusion.geometry import resized
from services.models.diffusion.keeping import kept
from services.models.diffusion.skill import Canvas, DiffusionSkill


class InstructPix2PixArgs(PaintArgs):
    """Arguments of instruct_pix2pix."""

    prompt: str = Field(
        min_length=1, max_length=2000, description="The edit as an instruction, for example: make it snow."
    )
    image_guidance: float | None = Field(
        None, ge=1.0, le=10.0, description="How closely to keep to the given picture; the checkpoint's default."
    )


class InstructPix2PixOptions(DiffusionOptions):
    """Settings of instruct_pix2pix."""

    image_guidance: float = Field(1.5, ge=1.0, le=10.0, description="Image guidance of a call that names none.")
    keep_below: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="What the painting changes by less than this, in parts of full brightness, stays as it was given. "
        "For painters whose autoencoder loses detail; 0 shows the painting everywhere.",
    )


class InstructPix2Pix(DiffusionSkill[InstructPix2PixArgs]):
    """Changes the picture as an instruction says.

    The result has the given picture's size.
    """

    name = "instruct_pix2pix"
    aliases = ("instruct-pix2pix", "ip2p")
    default_checkpoint = "timbrooks/instruct-pix2pix"
    pipeline = "StableDiffusionInstructPix2PixPipeline"
    Args = InstructPix2PixArgs
    Options = InstructPix2PixOptions
    settings: InstructPix2PixOptions

    def canvas(self, call: SkillCall[InstructPix2PixArgs]) -> Canvas:
        working = self.working_size(call.image.size)
        asked = call.args.image_guidance
        return Canvas(
            size=call.image.size,
            working=working,
            pictures={"image": resized(call.image, working)},
            settings=(("image_guidance_scale", self.settings.image_guidance if asked is None else asked),),
        )

    def finish(self, call: SkillCall[InstructPix2PixArgs], painted: Image.Image) -> Image.Image:
        if not self.settings.keep_below:
            return painted
        working = resized(call.image, self.working_size(call.image.size))
        rebuilt = resized(self._rebuilt(working), painted.size)
        return kept(call.image, painted, rebuilt, self.settings.keep_below)

    def _rebuilt(self, picture: Image.Image) -> Image.Image:
        """What the autoencoder alone makes of a picture."""
        import torch

        processor, vae = self._pipe.image_processor, self._pipe.vae
        with torch.inference_mode():
            pixels = processor.preprocess(picture).to(device=self.device, dtype=vae.dtype)
            (rebuilt,) = processor.postprocess(vae.decode(vae.encode(pixels).latent_dist.mode()).sample)
        made: Image.Image = rebuilt
        return made
