"""Stable Diffusion inpainting (arXiv 2112.10752) at tiny size: things painted into holes, from `stable_diffusion`.

It is trained for the skill's option `closer`: what the network sees is a square around the hole. So things are large
and in the middle, and it learns what a prompt's thing looks like; what is outside the hole is given, and counts little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.holes import sample_hole
from services.embedded.training.diffusion.latent import DEV, as_pixels
from services.embedded.training.diffusion.tuned import TunedConfig, TunedRecipe
from services.embedded.training.sheet import sheet


class InpaintingRecipeConfig(TunedConfig):
    """Settings of inpainting."""

    learning_rate: float = 4e-4
    batch_size: int = 16
    last: float = 0.4
    text_rate: float = 4.0
    outside: float = Field(0.1, ge=0, le=1, description="What a cell outside the hole counts, of one inside.")


class InpaintingRecipe(TunedRecipe[InpaintingRecipeConfig]):
    """See the module."""

    name = "inpainting"
    pipeline_name = "StableDiffusionInpaintPipeline"
    metric = "told"
    Config = InpaintingRecipeConfig
    in_channels = 2 * networks.LATENT_CHANNELS + 1

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        holes = [sample_hole(rng, self.config.size) for _ in range(count)]
        arrays = {
            "pictures": np.stack([hole.picture for hole in holes]),
            "mask": np.stack([hole.mask for hole in holes]).astype(np.uint8),
        }
        return [hole.prompt for hole in holes], arrays

    def encoded_batch(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        return super().encoded_batch(batch, generator) | {"around": self._around(batch)}

    def _around(self, batch: dict[str, Any]) -> torch.Tensor:
        """What the pipeline shows the network of the picture: grey where the hole is. It draws from the posterior; the
        mode differs from that by next to nothing, and gives the same figures each time."""
        hole = batch["mask"][:, None].float()
        mode = self.posterior(as_pixels(batch["pictures"]) * (1.0 - hole)).mode().float()
        around: torch.Tensor = mode * self.vae.config.scaling_factor
        return around

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        # In the pipeline's order: noise, mask, picture.
        around = batch["around"] if "around" in batch else self._around(batch)
        return super().said(model, torch.cat([latents, _cells(batch), around], dim=1), timesteps, batch)

    def weights(self, batch: dict[str, Any]) -> torch.Tensor:
        hole = _cells(batch)
        return hole + self.config.outside * (1.0 - hole)

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


def _cells(batch: dict[str, Any]) -> torch.Tensor:
    """Where the hole is, [batch, 1, height, width] in latent cells."""
    return batch["mask"][:, None, :: networks.CELL, :: networks.CELL].float()


RECIPE = InpaintingRecipe
