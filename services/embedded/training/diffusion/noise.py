"""What a diffusion network learns: to say the velocity of a noised latent (v-prediction, arXiv 2202.00512)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Noised:
    """A batch on its way through the network.

    Attributes:
        latents: [batch, 4, height, width] with noise.
        timesteps: [batch].
        velocity: what the network has to say.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    velocity: torch.Tensor


def noised(
    latents: torch.Tensor, scheduler: Any, generator: torch.Generator | None = None, *, last: float = 0.0
) -> Noised:
    """Noise each latent to a random timestep.

    Args:
        last: share of the latents, the first of the batch, that are put at the last timestep: nothing but noise.
    """
    count = scheduler.config.num_train_timesteps
    steps = random_timesteps(len(latents), count, generator)
    steps[: round(last * len(latents))] = count - 1
    steps = steps.to(latents.device)
    noise = torch.randn(latents.shape, generator=generator, device=generator.device if generator else latents.device)
    noise = noise.to(latents.device)
    return Noised(scheduler.add_noise(latents, noise, steps), steps, scheduler.get_velocity(latents, noise, steps))


def random_timesteps(count: int, steps: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """[count] timesteps spread evenly over their distribution, in random order.

    Half of them are uniform, so that the noisiest ones, where the scene is decided, are learned; half are
    logit-normal (arXiv 2403.03206), which learn the most.
    """
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    strata = strata[torch.randperm(count, generator=generator)]
    central = torch.sigmoid(torch.special.ndtri(strata.clamp(1e-4, 1 - 1e-4)))
    uniform = torch.rand(count, generator=generator) < 0.5
    return (torch.where(uniform, strata, central) * steps).long().clamp(max=steps - 1)


def velocity_loss(said: torch.Tensor, wanted: Noised, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared error, a scalar; `weights` [batch, 1, height, width] say what each cell counts."""
    return _mean((said.float() - wanted.velocity).square(), weights)


def velocity_variance(wanted: Noised, weights: torch.Tensor | None = None) -> torch.Tensor:
    """What `velocity_loss` is of a network that says the mean, a scalar."""
    return _mean((wanted.velocity - _mean(wanted.velocity, weights)).square(), weights)


def _mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return values.mean()
    return (values * weights).sum() / (values.shape[1] * weights.sum())
