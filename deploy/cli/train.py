"""`llava-plus train`: fine-tune a planner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import DeployError, UsageError


def train(
    config: Annotated[Path, typer.Argument(help="A training configuration (YAML).", exists=True)],
    minutes: Annotated[float | None, typer.Option(help="Stop after this time; the same command goes on.")] = None,
) -> None:
    """Fine-tune a planner. A run that was cut goes on from its last checkpoint; Ctrl-C leaves one.

    On several GPUs: `accelerate launch --config_file planner/train/configs/accelerate/fsdp_8.yaml -m planner.train
    CONFIG`.
    """
    from planner.train.config import ConfigError, TrainConfig
    from planner.train.recipe import main

    try:
        main(TrainConfig.load(config), lambda line: typer.echo(line), minutes=minutes)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    except ImportError as error:
        raise DeployError(f"Training needs {error.name}: install the extras `embedded,train`.") from None
