"""One recipe of two stages, trained with settings changed: what an ablation compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.train.config import ConfigError, TrainConfig
from planner.train.export import PROJECTOR_FILE
from planner.train.recipe import main

IN_BOTH_STAGES = ("vision_layer",)
"""Settings that a projector must be trained with as well; variants that agree in them share one stage 1."""


@dataclass(frozen=True)
class Stages:
    """The configurations of both stages; which folders they name does not matter.

    Attributes:
        projector: stage 1, of the projector alone.
        planner: stage 2.
    """

    projector: TrainConfig
    planner: TrainConfig

    def train(
        self,
        changes: Mapping[str, Any],
        folder: Path,
        tell: Callable[[str], None],
        minutes: float | None = None,
    ) -> bool:
        """Train a variant into `folder`, its stage 1 into a folder beside it; what was cut goes on.

        Args:
            minutes: stop, resumable, after this time (in each stage).

        Returns:
            Whether it was trained to its end.

        Raises:
            ConfigError: a change is no setting, or what a configuration names is not there.
        """
        shared = {name: changes[name] for name in IN_BOTH_STAGES if name in changes}
        first = folder.parent / "_".join(["stage1", *(f"{name}_{value}" for name, value in shared.items())])
        if not (first / PROJECTOR_FILE).is_file():
            tell(f"stage 1: {first}")
            config = changed(self.projector, shared | {"run": first / "run", "output": first, "weights": first})
            if not main(config, tell, minutes=minutes).finished:
                return False
        own: dict[str, Any] = {"run": folder / "run", "output": folder, "weights": first}
        if not changes.get("projector_fresh"):
            own["projector_from"] = first / PROJECTOR_FILE
        return main(changed(self.planner, {**changes, **own}), tell, minutes=minutes).finished


def changed(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """The configuration with other settings, checked again.

    Raises:
        ConfigError: one is unknown or out of range.
    """
    try:
        return TrainConfig.model_validate(config.model_dump() | dict(changes))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
