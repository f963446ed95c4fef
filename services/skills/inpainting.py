"""Repaints a masked part with Stable Diffusion inpainting (Rombach et al., arXiv 2112.10752)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.diffusion.contract import PaintArgs
from services.models.diffusion.geometry import Size, resized, resized_labels
from services.models.diffusion.skill import Canvas, DiffusionSkill
from services.models.mask_pictures import inside


class InpaintingArgs(PaintArgs):
    """Arguments of inpainting."""

    prompt: str = Field(min_length=1, max_length=2000, description="What the masked part shall show.")


class Inpainting(DiffusionSkill[InpaintingArgs]):
    """Repaints the masked part of the picture as a description says.

    Pixels outside the mask stay exactly as they are; the result has the given picture's size.
    """

    name = "inpainting"
    consumes = frozenset({Symbol.IMAGE, Symbol.MASK})
    default_checkpoint = "stable-diffusion-v1-5/stable-diffusion-inpainting"
    pipeline = "StableDiffusionInpaintPipeline"
    Args = InpaintingArgs

    def canvas(self, call: SkillCall[InpaintingArgs]) -> Canvas:
        size = call.image.size
        mask = inside(call.images[Symbol.MASK], size)
        if not mask.any():
            raise BadArguments("The mask is empty: mark the part to repaint.", argument="mask")
        working = self.working_size(size)
        cell = int(self._pipe.vae_scale_factor)
        return Canvas(
            size=size,
            working=working,
            pictures={"image": resized(call.image, working), "mask_image": cell_mask(mask, working, cell)},
            settings=(("width", working[0]), ("height", working[1])),
        )

    def finish(self, call: SkillCall[InpaintingArgs], painted: Image.Image) -> Image.Image:
        mask = inside(call.images[Symbol.MASK], call.image.size)
        return Image.composite(painted, call.image, Image.fromarray(mask))


def cell_mask(mask: NDArray[np.bool_], working: Size, cell: int) -> Image.Image:
    """The mask at working size, grown to whole latent cells.

    The pipeline keeps one pixel of the mask for each cell, by which small masks would be lost; a cell that the
    mask touches counts as inside.
    """
    cells = (working[0] // cell, working[1] // cell)
    touched = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(cells, Image.Resampling.BOX)) > 0
    return resized_labels(Image.fromarray(touched).convert("L"), working)
