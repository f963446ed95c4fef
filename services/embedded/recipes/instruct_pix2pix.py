"""InstructPix2Pix (arXiv 2211.09800) at tiny size: the world's edit pairs, from the painter of `stable_diffusion`.

The words of instructions are new to the painter's text encoder, so it goes on learning. What an instruction changes
and what it leaves count alike, however small: the thing that gets another colour, the things that stay where the
background changes. Night and water tint things, so that there they count as changed.
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
from services.embedded.world.edits import EditPair, sample_edit

CHANGE_MIN = 12
"""Levels of 255 by which a pixel differs that has changed."""
SHARE_MIN = 0.02
"""What is a smaller part of a picture than this is weighted as if it were this large."""


class InstructPix2PixRecipeConfig(TunedConfig):
    """Settings of instruct_pix2pix."""

    learning_rate: float = 4e-4
    batch_size: int = 16
    last: float = 0.3
    text_rate: float = 4.0
    drop_picture: float = Field(0.1, ge=0, lt=1, description="Share of given pictures left empty, for image guidance.")
    shown_image_guidance: float = Field(1.5, ge=1)


class InstructPix2PixRecipe(TunedRecipe[InstructPix2PixRecipeConfig]):
    """See the module."""

    name = "instruct_pix2pix"
    pipeline_name = "StableDiffusionInstructPix2PixPipeline"
    metric = "told"
    Config = InstructPix2PixRecipeConfig
    in_channels = 2 * networks.LATENT_CHANNELS

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        pairs = [sample_edit(rng, size=self.config.size) for _ in range(count)]
        arrays = {
            "pictures": np.stack([pair.after.image for pair in pairs]),
            "given": np.stack([pair.before.image for pair in pairs]),
            "changed": np.stack([_changed(pair) for pair in pairs]).astype(np.uint8),
            "seen": (rng.random(count) >= self.config.drop_picture).astype(np.uint8),
        }
        return [pair.instruction for pair in pairs], arrays

    def encoded_batch(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        encoded = super().encoded_batch(batch, generator) | {"shown": self._shown(batch)}
        return {name: value for name, value in encoded.items() if name != "given"}

    def _shown(self, batch: dict[str, Any]) -> torch.Tensor:
        """What the pipeline shows the network of the given picture: the mode, not scaled."""
        shown: torch.Tensor = self.posterior(as_pixels(batch["given"])).mode().float()
        return shown

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        shown = batch["shown"] if "shown" in batch else self._shown(batch)
        # Where there is no picture the pipeline gives zeros.
        given = shown * batch["seen"].view(-1, 1, 1, 1)
        return super().said(model, torch.cat([latents, given], dim=1), timesteps, batch)

    def weights(self, batch: dict[str, Any]) -> torch.Tensor:
        changed = batch["changed"][:, None].float()
        share = changed.mean((2, 3), keepdim=True).clamp(SHARE_MIN, 1.0 - SHARE_MIN)
        return changed / share + (1.0 - changed) / (1.0 - share)

    def samples(self, model: Any) -> Image.Image:
        prompts, arrays = self.examples(np.random.default_rng([DEV, 0]), 6)
        pictures = self.painted(
            model,
            prompts,
            image=[Image.fromarray(given) for given in arrays["given"]],
            image_guidance_scale=self.config.shown_image_guidance,
        )
        return sheet([list(arrays["given"]), pictures, list(arrays["pictures"])])


def _changed(pair: EditPair) -> NDArray[np.bool_]:
    """The latent cells in which a pixel has changed, [rows, columns]."""
    differs = np.abs(pair.after.image.astype(np.int16) - pair.before.image).max(axis=2) >= CHANGE_MIN
    rows, columns = (side // networks.CELL for side in differs.shape)
    cells: NDArray[np.bool_] = differs.reshape(rows, networks.CELL, columns, networks.CELL).any(axis=(1, 3))
    return cells


RECIPE = InstructPix2PixRecipe
