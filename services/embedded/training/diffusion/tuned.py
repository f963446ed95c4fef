"""The base of recipes whose network is the trained painter tuned to something else, and kept as what that changed."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from services.core.errors import SkillFailed
from services.embedded.training.diffusion.grown import GrownRecipe
from services.embedded.training.diffusion.latent import LatentConfig, Painter
from services.embedded.training.warm_start import WarmStartError, restore
from services.models.diffusion.difference import applied, difference, load_difference, save_difference


class TunedConfig(LatentConfig):
    """Settings of tuned painters."""

    steps: int = 15_000
    learning_rate: float = 3e-4
    rank: int = Field(32, gt=0, description="Rank of the UNet's difference from the painter that is kept.")


ConfigT = TypeVar("ConfigT", bound=TunedConfig)


class TunedRecipe(GrownRecipe[ConfigT]):
    """A recipe whose checkpoint has the UNet's difference from `stable_diffusion`, and the text encoder."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """The figures of what is kept."""
        return super().evaluate(self.kept(model))

    def kept(self, model: Any) -> Any:
        """The networks that a reader of the checkpoint gets."""
        unet = deepcopy(model.unet)
        weights, start = unet.state_dict(), self._start(unet)
        shapes = {name: weight.shape for name, weight in weights.items()}
        unet.load_state_dict(applied(difference(weights, start, self.config.rank), start, shapes))
        return Painter(unet, model.text_encoder)

    def save(self, model: Any, folder: Path) -> None:
        model.text_encoder.save_pretrained(folder / "text_encoder")
        model.unet.save_config(folder / "unet")
        save_difference(folder / "unet", model.unet.state_dict(), self._start(model.unet), self.config.rank)

    def restore(self, model: Any, folder: Path) -> None:
        """The painter as `kept` had it."""
        shapes = {name: weight.shape for name, weight in model.unet.state_dict().items()}
        try:
            unet = applied(load_difference(folder / "unet"), self._start(model.unet), shapes)
        except (SkillFailed, OSError) as error:
            raise WarmStartError(f"{folder} does not fit: {error} Train without --from-published.") from None
        restore(model.text_encoder, folder / "text_encoder")
        model.unet.load_state_dict(unet)

    def _start(self, unet: Any) -> dict[str, Any]:
        weights: dict[str, Any] = self.painter().unet.to(unet.device).state_dict()
        return weights
