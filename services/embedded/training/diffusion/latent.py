"""The base of recipes that train a network to remove noise from latents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from services.embedded.training.diffusion import networks
from services.embedded.training.diffusion.noise import noised, velocity_loss, velocity_variance
from services.embedded.training.diffusion.prompts import token_ids
from services.embedded.training.recipe import Recipe, RecipeConfig


class LatentConfig(RecipeConfig):
    """Settings of recipes on latents."""

    steps: int = 30_000
    batch_size: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    ema: float = 0.999
    size: int = Field(96, multiple_of=16, description="Side of the pictures that are painted, pixels.")
    drop: float = Field(0.1, ge=0, lt=1, description="Share of prompts left empty, so that guidance can be learned.")
    last: float = Field(
        0.0, ge=0, le=1, description="Share of samples of noise alone, where the prompt is all there is."
    )
    text_rate: float = Field(1.0, gt=0, description="Learning rate of what reads the prompt, in those of the rest.")
    pool: int = Field(
        0,
        ge=0,
        description="Pictures that are painted and encoded once, at the start, and drawn from again and again; 0 for "
        "new ones all the time, which takes a CPU as long as learning from them.",
    )
    dev_pictures: int = Field(256, gt=0, description="Pictures on which figures are taken.")
    shown_steps: int = Field(16, gt=0, description="Denoising steps of the pictures shown.")
    shown_guidance: float = Field(4.0, ge=1, description="Guidance of the pictures shown.")


ConfigT = TypeVar("ConfigT", bound=LatentConfig)


class Painter(torch.nn.Module):
    """A UNet and the text encoder whose words it follows."""

    def __init__(self, unet: Any, text_encoder: Any) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, latents: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Velocity [batch, 4, height, width] from latents with their conditioning channels."""
        words = self.text_encoder(tokens).last_hidden_state
        said: torch.Tensor = self.unet(latents, timesteps, words, return_dict=False)[0]
        return said


class LatentRecipe(Recipe[ConfigT]):
    """A recipe whose batches are `pictures` (uint8 [batch, side, side, 3]) and `tokens`, and more for conditioning."""

    metric = "explained"
    pipeline_name: ClassVar[str]
    """Class of diffusers that runs what was trained."""
    needs: ClassVar[tuple[str, ...]] = ("vae",)
    reads_scenes = False

    @cached_property
    def vae(self) -> Any:
        return networks.load_vae(self.checkpoints["vae"])

    @cached_property
    def scheduler(self) -> Any:
        return networks.scheduler()

    @cached_property
    @abstractmethod
    def tokenizer(self) -> Any:
        """What reads the prompts."""

    @abstractmethod
    def examples(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, NDArray[np.uint8]]]:
        """Prompts, and arrays [count, ...] by name, `pictures` among them."""

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        if not self.config.pool:
            return self._dropped(self._tensors(*self.examples(rng, self.config.batch_size)), rng)
        chosen = torch.from_numpy(rng.integers(self.config.pool, size=self.config.batch_size))
        return self._dropped({name: value[chosen] for name, value in self._pool.items()}, rng)

    @cached_property
    def _pool(self) -> dict[str, torch.Tensor]:
        """`encoded_batch` of examples that are used again and again; each loader process has its own."""
        rng = np.random.default_rng([self.config.seed, POOL])
        parts = []
        for start in range(0, self.config.pool, _POOL_BATCH):
            batch = self._tensors(*self.examples(rng, min(_POOL_BATCH, self.config.pool - start)))
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
                parts.append(self.encoded_batch(batch, torch.Generator().manual_seed(start)))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def encoded_batch(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        """A batch with `latents` for its `pictures`. Recipes that show the network other pictures encode these too."""
        latents = self.encoded(as_pixels(batch["pictures"]), generator)
        return {name: value for name, value in batch.items() if name != "pictures"} | {"latents": latents}

    def _dropped(self, batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The batch with some prompts left empty."""
        left_out = rng.random(len(batch["tokens"])) < self.config.drop
        batch["tokens"][torch.from_numpy(left_out)] = token_ids(self.tokenizer, [""])
        return batch

    def _tensors(self, prompts: list[str], arrays: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return tensors | {"tokens": token_ids(self.tokenizer, prompts)}

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        return {"loss": self._velocity_loss(model, batch, last=self.config.last)[0]}

    def _velocity_loss(
        self, model: Any, batch: dict[str, Any], generator: torch.Generator | None = None, last: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss, and the variance of what was to be said."""
        wanted = noised(self.latents(batch, generator), self.scheduler, generator, last=last)
        said = self.said(model, wanted.latents, wanted.timesteps, batch)
        weights = self.weights(batch)
        return velocity_loss(said, wanted, weights), velocity_variance(wanted, weights)

    def weights(self, batch: dict[str, Any]) -> torch.Tensor | None:
        """What each latent cell counts, [batch, 1, height, width]; None where all count alike."""
        del batch
        return None

    def said(self, model: Any, latents: torch.Tensor, timesteps: torch.Tensor, batch: dict[str, Any]) -> torch.Tensor:
        """The network's velocity. Recipes with conditioning channels add them here."""
        said: torch.Tensor = model(latents, timesteps, batch["tokens"])
        return said

    def latents(self, batch: dict[str, Any], generator: torch.Generator | None = None) -> torch.Tensor:
        """What is to be painted, [batch, 4, height, width]."""
        if "latents" not in batch:
            return self.encoded(as_pixels(batch["pictures"]), generator)
        latents: torch.Tensor = batch["latents"]
        return latents

    def encoded(self, pixels: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Scaled latents, drawn from the autoencoder's posterior."""
        latents: torch.Tensor = self.posterior(pixels).sample(generator).float() * self.vae.config.scaling_factor
        return latents

    def posterior(self, pixels: torch.Tensor) -> Any:
        """What the autoencoder makes of pictures -1..1 [batch, 3, side, side]."""
        with torch.no_grad():
            return self.vae.to(pixels.device).encode(pixels).latent_dist

    def parameters(self, model: Any) -> Any:
        reading: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (reading if "text_encoder" in name or ".attn2." in name else rest).append(parameter)
        return [{"params": rest}, {"params": reading, "lr": self.config.text_rate * self.config.learning_rate}]

    def evaluate(self, model: Any) -> dict[str, float]:
        """How much of the velocity's variance the network explains on scenes that it was not trained on: over all
        timesteps, and at the last one (`told`)."""
        device = next(model.parameters()).device
        sums = torch.zeros(2, 2)
        for start in range(0, self.config.dev_pictures, 32):
            prompts, arrays = self.examples(np.random.default_rng([DEV, start]), 32)
            batch = {name: value.to(device) for name, value in self._tensors(prompts, arrays).items()}
            for row, last in enumerate((0.0, 1.0)):
                loss = self._velocity_loss(model, batch, torch.Generator("cpu").manual_seed(start), last)
                sums[row] += torch.stack([value.float().cpu() for value in loss])
        explained, told = (1.0 - sums[:, 0] / sums[:, 1]).tolist()
        return {"explained": explained, "told": told}

    def pipeline(self, model: Any) -> Any:
        """The trained networks as the skill runs them."""
        return networks.make_pipeline(
            self.pipeline_name, vae=self.vae, tokenizer=self.tokenizer, **self.trained_parts(model)
        )

    def trained_parts(self, model: Any) -> dict[str, Any]:
        """The pipeline's components that the model holds, by the pipeline's names."""
        return {"text_encoder": model.text_encoder, "unet": model.unet}

    def save(self, model: Any, folder: Path) -> None:
        self.pipeline(model).save_pretrained(folder)

    def painted(self, model: Any, prompts: Sequence[str], **inputs: Any) -> list[NDArray[np.uint8]]:
        """Pictures [side, side, 3] for a person to look at; the seed of each is its number."""
        pipe = self.pipeline(model).to(next(model.parameters()).device)
        pictures = pipe(
            list(prompts),
            num_inference_steps=self.config.shown_steps,
            guidance_scale=self.config.shown_guidance,
            generator=[torch.Generator("cpu").manual_seed(index) for index in range(len(prompts))],
            output_type="np",
            **inputs,
        ).images
        return [np.rint(picture * 255).astype(np.uint8) for picture in pictures]


POOL: Final = 2**32 - 1
"""Second number of a pool's seed; those of batches count steps."""
_POOL_BATCH: Final = 32
DEV = 2
"""First number of the seeds of dev scenes; training seeds have the recipe's seed there."""


def as_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [batch, height, width, 3] to -1..1 [batch, 3, height, width]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0
