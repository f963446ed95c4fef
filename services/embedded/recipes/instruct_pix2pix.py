"""InstructPix2Pix (arXiv 2211.09800) at tiny size: the world's edit pairs, from the painter of `stable_diffusion`.

The words of instructions are new to the painter's text encoder, so it goes on learning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.latent import DEV, as_pixels
from services.embedded.training.diffusion.tuned import TunedConfig, TunedRecipe
from services.embedded.training.sheet import sheet
from services.embedded.world.edits import sample_edit


class InstructPix2PixRecipeConfig(TunedConfig):
    """Settings of instruct_pix2pix."""

    drop_picture: float = Field(0.1, ge=0, lt=1, description="Share of given pictures left empty, for image guidance.")
    shown_image_guidance: float = Field(1.5, ge=1)


class InstructPix2PixRecipe(TunedRecipe[InstructPix2PixRecipeConfig]):
    """See the module."""

    name = "instruct_pix2pix"
    Config = InstructPix2PixRecipeConfig
    in_channels = 2 * networks.LATENT_CHANNELS

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        pairs = [sample_edit(rng, size=self.config.size) for _ in range(count)]
        arrays = {
            "pictures": np.stack([pair.after.image for pair in pairs]),
            "given": np.stack([pair.before.image for pair in pairs]),
            "seen": (rng.random(count) >= self.config.drop_picture).astype(np.uint8),
        }
        return [pair.instruction for pair in pairs], arrays

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        # As the pipeline does: the mode, not scaled, and zeros where there is no picture.
        given = self.posterior(as_pixels(batch["given"])).mode().float() * batch["seen"].view(-1, 1, 1, 1)
        return super().said(model, torch.cat([latents, given], dim=1), timesteps, batch)

    def pipeline(self, model: Any) -> Any:
        return networks.make_pipeline(
            "StableDiffusionInstructPix2PixPipeline",
            vae=self.vae,
            text_encoder=model.text_encoder,
            tokenizer=self.tokenizer,
            unet=model.unet,
        )

    def samples(self, model: Any) -> Image.Image:
        prompts, arrays = self.examples(np.random.default_rng([DEV, 0]), 6)
        pictures = self.painted(
            model,
            prompts,
            image=[Image.fromarray(given) for given in arrays["given"]],
            image_guidance_scale=self.config.shown_image_guidance,
        )
        return sheet([list(arrays["given"]), pictures, list(arrays["pictures"])])


RECIPE = InstructPix2PixRecipe
