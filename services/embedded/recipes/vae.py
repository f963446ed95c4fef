"""The autoencoder (AutoencoderKL of Stable Diffusion, arXiv 2112.10752) that all painters share.

It learns from crops, at several scales, of scenes in all styles. Latents are shaken a little before they are decoded:
what painters make of noise is never exact. Beside pixels, what the trunk sees in them is compared, as the paper has it
with VGG (LPIPS): of small things pixels alone keep the colours and lose what they are.

With `frozen_encoder` the decoder learns alone. Latents then stay as trained painters know them, and their pictures
become better without a step of theirs.
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
from torch.nn.functional import interpolate

from services.embedded.training.diffusion.latent import DEV, as_pixels
from services.embedded.training.diffusion.networks import build_vae
from services.embedded.training.pictures import normalised
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.sheet import sheet
from services.embedded.training.teacher import TrunkTeacher, likeness_loss
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene

SCALES = (96, 128, 160)
"""Sides at which whole scenes are drawn before they are cropped."""
TRUNK_SCALE = 2
"""How much larger the trunk sees the crops: it learned from scenes of 160 pixels."""


class VaeConfig(RecipeConfig):
    """Settings of the autoencoder."""

    steps: int = 12_000
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    ema: float = 0.998
    size: int = Field(64, multiple_of=8, description="Side of the crops, pixels.")
    crops: int = Field(2, gt=0, description="Crops of each scene.")
    shake: float = Field(0.15, ge=0, description="Most noise that is added to latents, in their standard deviations.")
    edges: float = Field(1.0, ge=0, description="Weight of differences between neighbouring pixels.")
    divergence: float = Field(3e-4, ge=0, description="Weight of the divergence from a standard normal.")
    likeness: float = Field(0.5, ge=0, description="Weight of the difference in what the trunk sees; 0 for none.")
    frozen_encoder: bool = Field(False, description="Train the decoder alone.")
    dev_pictures: int = Field(64, gt=0)


class Vae(Recipe[VaeConfig]):
    """See the module."""

    name = "vae"
    metric = "explained"
    needs = ("trunk",)
    reads_scenes = False
    Config = VaeConfig

    @cached_property
    def teacher(self) -> TrunkTeacher:
        return TrunkTeacher(self.checkpoints["trunk"])

    def build(self) -> Any:
        vae = build_vae(SCALES[1])
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(not self.config.frozen_encoder)
        return vae.to(memory_format=torch.channels_last)

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        crops: list[NDArray[np.uint8]] = []
        side = self.config.size
        while len(crops) < self.config.batch_size:
            picture = render(sample_scene(rng), int(rng.choice(SCALES))).image
            for _ in range(self.config.crops):
                top, left = rng.integers(0, picture.shape[0] - side + 1, size=2)
                crop = picture[top : top + side, left : left + side]
                crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        return {"pictures": torch.from_numpy(np.stack(crops[: self.config.batch_size]))}

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        pixels = as_pixels(batch["pictures"])
        posterior = model.encode(pixels).latent_dist
        latents = posterior.sample().float()
        amount = self.config.shake * torch.rand(len(latents), 1, 1, 1, device=latents.device)
        shaken = latents + amount * latents.detach().std() * torch.randn_like(latents)
        seen = model.decode(shaken).sample.float()
        l1 = (seen - pixels).abs().mean()
        edges = sum((difference(seen, axis) - difference(pixels, axis)).abs().mean() for axis in (2, 3))
        divergence = posterior.kl().float().mean() / latents[0].numel()
        loss = l1 + self.config.edges * edges + self.config.divergence * divergence
        losses = {"l1": l1, "edges": edges, "divergence": divergence}
        if self.config.likeness:
            losses["likeness"] = self._likeness(seen, pixels)
            loss = loss + self.config.likeness * losses["likeness"]
        return {"loss": loss, **losses}

    def _likeness(self, seen: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """How different the trunk finds two batches of pictures, -1..1 [batch, 3, side, side]."""
        looked, wanted = (
            self.teacher.look(normalised((enlarged(one).permute(0, 2, 3, 1) + 1.0) * 127.5)) for one in (seen, pixels)
        )
        return likeness_loss(looked, [one.detach() for one in wanted])

    def evaluate(self, model: Any) -> dict[str, float]:
        pictures = self._dev(model)
        seen = self._round_trip(model, pictures)
        error = (seen - as_pixels(pictures)).square().mean()
        return {
            "explained": 1.0 - float(error / as_pixels(pictures).var()),
            "psnr": float(10 * torch.log10(4.0 / error)),
            "latent_std": float(model.encode(as_pixels(pictures)).latent_dist.mode().float().std()),
        }

    def samples(self, model: Any) -> Image.Image:
        pictures = self._dev(model)[:8]
        seen = ((self._round_trip(model, pictures).permute(0, 2, 3, 1) + 1.0) * 127.5).round().clamp(0, 255)
        return sheet([list(pictures.cpu().numpy()), list(seen.to(torch.uint8).cpu().numpy())])

    def _dev(self, model: Any) -> torch.Tensor:
        drawn = [render(sample_scene(np.random.default_rng([DEV, index])), SCALES[1]).image for index in self._indices]
        return torch.from_numpy(np.stack(drawn)).to(next(model.parameters()).device)

    @property
    def _indices(self) -> range:
        return range(self.config.dev_pictures)

    @staticmethod
    def _round_trip(model: Any, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model.decode(model.encode(as_pixels(pictures)).latent_dist.mode()).sample.float()
        return found.clamp(-1.0, 1.0)

    def save(self, model: Any, folder: Path) -> None:
        with torch.inference_mode():
            deviation = self.evaluate(model)["latent_std"]
        # Painters work on latents of deviation 1.
        model.register_to_config(scaling_factor=round(1.0 / deviation, 4))
        model.save_pretrained(folder)


def enlarged(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as the trunk is to see them."""
    return interpolate(pictures, scale_factor=TRUNK_SCALE, mode="bilinear")


def difference(pictures: torch.Tensor, axis: int) -> torch.Tensor:
    """Each pixel less its neighbour before it."""
    return pictures.diff(dim=axis)


RECIPE = Vae
