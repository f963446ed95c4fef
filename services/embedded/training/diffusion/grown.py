"""The base of recipes that start from the trained painter: its words, its autoencoder, and its UNet made wider."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeVar

import torch

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.latent import LatentConfig, LatentRecipe, Painter

ConfigT = TypeVar("ConfigT", bound=LatentConfig)


class GrownRecipe(LatentRecipe[ConfigT]):
    """A recipe whose network is the painter of `stable_diffusion` with `in_channels` inputs."""

    needs = ("vae", "stable_diffusion")
    in_channels: int

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(self.checkpoints["stable_diffusion"], subfolder="tokenizer")

    def painter(self) -> Painter:
        """The trained painter as it is."""
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextModel

        folder = self.checkpoints["stable_diffusion"]
        return Painter(
            UNet2DConditionModel.from_pretrained(folder, subfolder="unet", dtype=torch.float32),
            CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32),
        )

    def build(self) -> Any:
        painter = self.painter()
        grown = networks.grown_unet(painter.unet, self.config.size, self.in_channels)
        return Painter(networks.made_quick(grown), painter.text_encoder)
