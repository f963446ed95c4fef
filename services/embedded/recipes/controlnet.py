"""ControlNet (arXiv 2302.05543) at tiny size: paintings that follow a segmentation map, steering `stable_diffusion`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.grown import GrownRecipe
from services.embedded.training.diffusion.latent import DEV, LatentConfig, Painter
from services.embedded.training.diffusion.paintings import STYLE, sample_painting
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.training.sheet import sheet
from services.embedded.world.language import caption
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene
from services.models.palette import paint

MAP_WIDTHS = (32, 64, 128)
"""Channels of the network that reads the map; each step but the first halves its side, down to the latent's."""


class ControlNetRecipeConfig(LatentConfig):
    """Settings of controlnet."""

    steps: int = 15_000
    learning_rate: float = 4e-4
    drop: float = 0.3
    """Higher than for painters: where the prompt is missing, the map must say it all."""
    painting_share: float = 0.3


class Steered(torch.nn.Module):
    """A frozen painter and the ControlNet that steers it."""

    def __init__(self, painter: Painter, controlnet: Any) -> None:
        super().__init__()
        self.painter = painter.requires_grad_(False)
        self.controlnet = controlnet

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor, segments: torch.Tensor
    ) -> torch.Tensor:
        """Velocity, from latents and maps 0..1 [batch, 3, side, side]."""
        words = self.painter.text_encoder(tokens).last_hidden_state
        down, middle = self.controlnet(latents, timesteps, words, controlnet_cond=segments, return_dict=False)
        said: torch.Tensor = self.painter.unet(
            latents,
            timesteps,
            words,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return said


class ControlNetRecipe(GrownRecipe[ControlNetRecipeConfig]):
    """See the module."""

    name = "controlnet"
    pipeline_name = "StableDiffusionControlNetPipeline"
    Config = ControlNetRecipeConfig
    in_channels = networks.LATENT_CHANNELS

    def build(self) -> Steered:
        from diffusers import ControlNetModel

        painter = super().build()
        controlnet = ControlNetModel.from_unet(painter.unet, conditioning_embedding_out_channels=MAP_WIDTHS)
        return Steered(painter, networks.made_quick(controlnet))

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        prompts, pictures, segments = [], [], []
        for _ in range(count):
            of_painter = rng.random() < self.config.painting_share
            drawn = render(sample_painting(rng) if of_painter else sample_scene(rng, (STYLE,)), self.config.size)
            prompts.append(caption(drawn, rng))
            pictures.append(drawn.image)
            segments.append(paint(class_map(drawn, drawn.instances), len(CLASSES)))
        return prompts, {"pictures": np.stack(pictures), "segments": np.stack(segments)}

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        segments = batch["segments"].permute(0, 3, 1, 2).float() / 255.0
        said: torch.Tensor = model(latents, timesteps, batch["tokens"], segments)
        return said

    def trained_parts(self, model: Any) -> dict[str, Any]:
        return {**super().trained_parts(model.painter), "controlnet": model.controlnet}

    def save(self, model: Any, folder: Path) -> None:
        """The ControlNet alone: the skill's option `base` names the painter that it steers."""
        model.controlnet.save_pretrained(folder)

    def samples(self, model: Any) -> Image.Image:
        prompts, arrays = self.examples(np.random.default_rng([DEV, 0]), 6)
        maps = [Image.fromarray(segments) for segments in arrays["segments"]]
        pictures = self.painted(model, prompts, image=maps, width=self.config.size, height=self.config.size)
        return sheet([list(arrays["segments"]), pictures, list(arrays["pictures"])])


RECIPE = ControlNetRecipe
