"""Stable Diffusion inpainting (arXiv 2112.10752) at tiny size: things painted into holes, from `stable_diffusion`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.holes import sample_hole
from services.embedded.training.diffusion.latent import DEV, as_pixels
from services.embedded.training.diffusion.tuned import TunedConfig, TunedRecipe
from services.embedded.training.sheet import sheet


class InpaintingRecipeConfig(TunedConfig):
    """Settings of inpainting."""


class InpaintingRecipe(TunedRecipe[InpaintingRecipeConfig]):
    """See the module."""

    name = "inpainting"
    Config = InpaintingRecipeConfig
    in_channels = 2 * networks.LATENT_CHANNELS + 1

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        holes = [sample_hole(rng, self.config.size) for _ in range(count)]
        arrays = {
            "pictures": np.stack([hole.picture for hole in holes]),
            "mask": np.stack([hole.mask for hole in holes]).astype(np.uint8),
        }
        return [hole.prompt for hole in holes], arrays

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        # As the pipeline does: grey where the hole is, in the order noise, mask, picture. It draws from the posterior;
        # the mode differs from that by next to nothing, and gives the same figures each time.
        hole = batch["mask"][:, None].float()
        mode = self.posterior(as_pixels(batch["pictures"]) * (1.0 - hole)).mode().float()
        around = mode * self.vae.config.scaling_factor
        cells = hole[:, :, :: networks.CELL, :: networks.CELL]
        return super().said(model, torch.cat([latents, cells, around], dim=1), timesteps, batch)

    def pipeline(self, model: Any) -> Any:
        return networks.make_pipeline(
            "StableDiffusionInpaintPipeline",
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
            image=[Image.fromarray(picture) for picture in arrays["pictures"]],
            mask_image=[Image.fromarray(mask * 255) for mask in arrays["mask"]],
            width=self.config.size,
            height=self.config.size,
        )
        holes = arrays["pictures"] * (1 - arrays["mask"])[..., None] + 128 * arrays["mask"][..., None]
        return sheet([list(holes), pictures, list(arrays["pictures"])])


RECIPE = InpaintingRecipe
