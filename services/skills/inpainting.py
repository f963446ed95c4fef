"""Repaints a masked part with Stable Diffusion inpainting (Rombach et al., arXiv 2112.10752)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.diffusion.contract import DiffusionOptions, PaintArgs
from services.models.diffusion.geometry import Size, resized, resized_labels
from services.models.diffusion.skill import Canvas, DiffusionSkill
from services.models.mask_pictures import box_around, inside
from services.models.regions import Region, around, whole


class InpaintingArgs(PaintArgs):
    """Arguments of inpainting."""

    prompt: str = Field(min_length=1, max_length=2000, description="What the masked part shall show.")


class InpaintingOptions(DiffusionOptions):
    """Settings of inpainting."""

    closer: float | None = Field(
        None,
        ge=1.0,
        le=8.0,
        description="Paint on nothing but a square around the mask, of this many times its longer side, so that a "
        "small part gets all of the painter's pixels. Left out: on the whole picture.",
    )


class Inpainting(DiffusionSkill[InpaintingArgs]):
    """Repaints the masked part of the picture as a description says.

    Pixels outside the mask stay exactly as they are; the result has the given picture's size.
    """

    name = "inpainting"
    consumes = frozenset({Symbol.IMAGE, Symbol.MASK})
    default_checkpoint = "stable-diffusion-v1-5/stable-diffusion-inpainting"
    pipeline = "StableDiffusionInpaintPipeline"
    Args = InpaintingArgs
    Options = InpaintingOptions
    settings: InpaintingOptions

    def canvas(self, call: SkillCall[InpaintingArgs]) -> Canvas:
        mask = inside(call.images[Symbol.MASK], call.image.size)
        if not mask.any():
            raise BadArguments("The mask is empty: mark the part to repaint.", argument="mask")
        region = self._region(mask)
        working = self.working_size(region.size)
        cell = int(self._pipe.vae_scale_factor)
        return Canvas(
            size=region.size,
            working=working,
            pictures={
                "image": resized(region.cut(call.image), working),
                "mask_image": cell_mask(region.inside(mask), working, cell),
            },
            settings=(("width", working[0]), ("height", working[1])),
        )

    def finish(self, call: SkillCall[InpaintingArgs], painted: Image.Image) -> Image.Image:
        mask = inside(call.images[Symbol.MASK], call.image.size)
        region = self._region(mask)
        repainted = call.image.copy()
        repainted.paste(painted, (region.left, region.top), Image.fromarray(region.inside(mask)))
        return repainted

    def _region(self, mask: NDArray[np.bool_]) -> Region:
        """What is painted on."""
        size = (mask.shape[1], mask.shape[0])
        return whole(size) if self.settings.closer is None else around(box_around(mask), size, self.settings.closer)


def cell_mask(mask: NDArray[np.bool_], working: Size, cell: int) -> Image.Image:
    """The mask at working size, grown to whole latent cells.

    The pipeline keeps one pixel of the mask for each cell, by which small masks would be lost; a cell that the
    mask touches counts as inside.
    """
    cells = (working[0] // cell, working[1] // cell)
    touched = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(cells, Image.Resampling.BOX)) > 0
    return resized_labels(Image.fromarray(touched).convert("L"), working)
