"""What a training recipe is: a model, batches, a loss, figures, and how the checkpoint is saved."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.embedded.world.cache import SceneCache

RECIPES = "services.embedded.recipes"


class RecipeConfig(BaseModel):
    """Settings that every recipe has; `--set NAME=VALUE` on the command line changes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0, description="Optimizer steps in all.")
    batch_size: int = Field(gt=0, description="Pictures (or pairs) a step.")
    learning_rate: float = Field(gt=0)
    warmup: float = Field(0.02, ge=0, lt=1, description="Part of the run in which the learning rate rises.")
    decay: float = Field(0.4, gt=0, le=1, description="Last part of the run, in which the learning rate falls to zero.")
    weight_decay: float = Field(0.05, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the averaged weights that are scored; 0 for none.")
    bf16: bool = Field(True, description="Compute in bfloat16 where torch's autocast does.")
    seed: int = 1
    size: int = Field(192, gt=0, description="Side of the pictures that the model sees, pixels.")

    @field_validator("steps", "batch_size", "learning_rate", "size")
    @classmethod
    def _positive(cls, value: float) -> float:
        """A recipe that names another default loses what the field asks for here, but not this."""
        if value <= 0:
            raise ValueError("give more than 0")
        return value


ConfigT = TypeVar("ConfigT", bound=RecipeConfig)


class WorldData:
    """The pre-rendered scenes that recipes draw from (see `services.embedded.world.cache`).

    Args:
        folder: holds one scene cache in `train` and one in `dev`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def train(self) -> SceneCache:
        return SceneCache(self.folder / "train")

    @cached_property
    def dev(self) -> SceneCache:
        return SceneCache(self.folder / "dev")


class Recipe(ABC, Generic[ConfigT]):
    """How one checkpoint comes about.

    Subclasses live in `services/embedded/recipes/NAME.py`, one a file, named by `RECIPE`.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    """The figure of `evaluate` by which two runs are compared; higher is better."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Other recipes whose checkpoints this one starts from."""
    reads_scenes: ClassVar[bool] = True
    """Whether it needs the pre-rendered scenes; painters draw their own."""
    Config: type[RecipeConfig]

    def __init__(self, config: ConfigT, data: WorldData, checkpoints: Mapping[str, Path]) -> None:
        """Keep the settings.

        Args:
            checkpoints: folder of each checkpoint in `needs`.
        """
        self.config = config
        self.data = data
        self.checkpoints = checkpoints

    @abstractmethod
    def build(self) -> Any:
        """The `torch.nn.Module` to train, on the CPU. Called once, after torch's seed is set."""

    @abstractmethod
    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        """One batch as CPU tensors (and plain data), drawn with `rng` alone. Runs in loader processes."""

    @abstractmethod
    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Scalars by name, `loss` among them, the one that is minimised. `batch` is on the model's device."""

    @abstractmethod
    def evaluate(self, model: Any) -> dict[str, float]:
        """Figures on the dev scenes, `metric` among them. The model is in eval mode; a minute at most."""

    @abstractmethod
    def save(self, model: Any, folder: Path) -> None:
        """Write the checkpoint in the layout that its skill loads; `publish` turns weights to fp16 afterwards."""

    def restore(self, model: Any, folder: Path) -> None:
        """Give a model that `build` made the weights of a published checkpoint, as far as that keeps them.

        Raises:
            WarmStartError: they do not fit.
        """
        from services.embedded.training.warm_start import restore

        restore(model, folder)

    def parameters(self, model: Any) -> Any:
        """What the optimizer gets: parameters or groups with their own `lr`."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def samples(self, model: Any) -> Image.Image | None:
        """A picture that shows a person what the model does now."""
        del model
        return None


def recipe_names() -> list[str]:
    """All recipes, sorted."""
    package = importlib.import_module(RECIPES)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def recipe_class(name: str) -> type[Recipe[Any]]:
    """The recipe of a name.

    Raises:
        KeyError: there is none; the message lists those that are.
    """
    if name not in recipe_names():
        raise KeyError(f"There is no recipe {name!r}: name one of {', '.join(recipe_names())}.")
    found: type[Recipe[Any]] = importlib.import_module(f"{RECIPES}.{name}").RECIPE
    return found
