"""Stable Diffusion (arXiv 2112.10752) at tiny size: paintings from captions. UNet and text encoder learn together.

Scenes are paintings (`training.diffusion.paintings`), where a caption says nearly all that there is to know. From all
timesteps alike, a network this small soon learns what a prompt's place looks like and hardly ever what its thing does,
for which little noise needs no prompt: hence the share `last`, where a picture is to be told from its prompt alone, and
`text_rate`. Of `world_share`, scenes are those of the world in the painter's style.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.latent import LatentConfig, LatentRecipe, Painter
from services.embedded.training.diffusion.paintings import STYLE, sample_painting
from services.embedded.training.diffusion.prompts import clip_tokenizer
from services.embedded.training.sheet import sheet
from services.embedded.world.language import caption
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene

SHOWN = (
    "a dog on a beach",
    "a red car in a city",
    "an apple in the snow",
    "a cat and a guitar in a room",
    "a fish under water",
    "a purple umbrella in autumn",
    "a rocket at night",
    "a camel and a cactus in a desert",
)
"""Prompts whose pictures show a person how far the run is."""


class StableDiffusionRecipeConfig(LatentConfig):
    """Settings of stable_diffusion."""

    learning_rate: float = 2e-4
    last: float = 0.5
    text_rate: float = 5.0
    world_share: float = Field(0.0, ge=0, le=1, description="Share of scenes that are no paintings.")
    start: Path | None = Field(None, description="Folder of a checkpoint to go on from, perhaps of smaller pictures.")


class StableDiffusionRecipe(LatentRecipe[StableDiffusionRecipeConfig]):
    """See the module."""

    name = "stable_diffusion"
    pipeline_name = "StableDiffusionPipeline"
    Config = StableDiffusionRecipeConfig

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        start = self.config.start
        return clip_tokenizer() if start is None else CLIPTokenizer.from_pretrained(start, subfolder="tokenizer")

    def build(self) -> Painter:
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextModel

        start = self.config.start
        if start is None:
            unet, text_encoder = networks.build_unet(self.config.size), networks.build_text_encoder(self.tokenizer)
        else:
            unet = UNet2DConditionModel.from_pretrained(start, subfolder="unet", dtype=torch.float32)
            unet.register_to_config(sample_size=self.config.size // networks.CELL)
            text_encoder = CLIPTextModel.from_pretrained(start, subfolder="text_encoder", dtype=torch.float32)
        return Painter(networks.made_quick(unet), text_encoder)

    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        prompts, pictures = [], []
        for _ in range(count):
            of_world = rng.random() < self.config.world_share
            drawn = render(sample_scene(rng, (STYLE,)) if of_world else sample_painting(rng), self.config.size)
            prompts.append(caption(drawn, rng))
            pictures.append(drawn.image)
        return prompts, {"pictures": np.stack(pictures)}

    def samples(self, model: Any) -> Image.Image:
        pictures = self.painted(model, SHOWN, width=self.config.size, height=self.config.size)
        return sheet([pictures[:4], pictures[4:]])


RECIPE = StableDiffusionRecipe
