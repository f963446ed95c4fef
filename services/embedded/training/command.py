"""What `llava-plus embedded train NAME` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_cache_dir
from pydantic import ValidationError

from services.embedded.training.errors import RunError
from services.embedded.training.loop import Run, RunOptions
from services.embedded.training.publish import CARD, publish, weights_folder
from services.embedded.training.recipe import Recipe, WorldData, recipe_class
from services.embedded.world.cache import SceneCache, StaleCache

CHECKPOINT_FILES = (CARD, "config.json", "model_index.json")
"""A folder with one of these holds a whole checkpoint."""


class TrainingError(RuntimeError):
    """The run cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """One run, as the command line asks for it."""

    name: str
    world: Path | None = None
    runs: Path | None = None
    device: str = "cpu"
    workers: int = 1
    minutes: float | None = None
    settings: tuple[str, ...] = ()
    publish: bool = True
    from_published: bool = False


def run(request: TrainRequest) -> None:
    """Train, and publish what improved.

    Raises:
        TrainingError: no such recipe, setting or device, no scenes, or a checkpoint that must come first is missing;
            the run's state, or the published checkpoint from which it is to go on, does not fit; the loss is not a
            number; or the checkpoint is too large to be published.
    """
    if request.minutes is not None and not request.minutes > 0:
        raise TrainingError(f"--minutes is a time greater than 0, not {request.minutes:g}.")
    folder = (request.runs or default_runs()) / request.name
    recipe = make_recipe(request)
    _check_scenes(recipe)
    _check_device(request.device)
    start = weights_folder() / request.name if request.from_published else None
    options = RunOptions(device=request.device, workers=request.workers, minutes=request.minutes, start=start)
    try:
        training = Run(recipe, folder, options, _say)
        figures = training.train()
    except (RunError, StaleCache, FloatingPointError) as error:
        raise TrainingError(str(error)) from None
    if figures is None or not request.publish:
        return
    try:
        refused = publish(
            folder / "checkpoint",
            name=request.name,
            config=recipe.config.model_dump(mode="json"),
            curve=training.curve,
            figures=figures,
            metric=recipe.metric,
        )
    except ValueError as error:
        raise TrainingError(f"{request.name}: not published: {error}") from None
    _say(f"{request.name}: not published: {refused}" if refused else f"{request.name}: published")


def make_recipe(request: TrainRequest) -> Recipe[Any]:
    """The recipe with its settings, scenes and the checkpoints that it starts from.

    Raises:
        TrainingError: one of these is not there, or a setting does not fit.
    """
    try:
        recipe = recipe_class(request.name)
    except KeyError as error:
        raise TrainingError(str(error.args[0])) from None
    world = request.world or default_world()
    if recipe.reads_scenes and not (world / "train").is_dir():
        raise TrainingError(f"There are no scenes in {world}: render them with `llava-plus embedded render`.")
    try:
        config = recipe.Config.model_validate(parsed_settings(request.settings))
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        names = ", ".join(recipe.Config.model_fields)
        raise TrainingError(f"{'; '.join(mistakes)}. The settings of {request.name} are {names}.") from None
    return recipe(
        config,
        WorldData(world),
        _checkpoints(recipe.needs, request.runs or default_runs()),
    )


def parsed_settings(settings: tuple[str, ...]) -> dict[str, object]:
    """`NAME=VALUE` texts as settings; values are YAML."""
    found: dict[str, object] = {}
    for text in settings:
        name, separator, value = text.partition("=")
        if not separator:
            raise TrainingError(f"A setting is given as NAME=VALUE, not {text!r}.")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise TrainingError(f"The value of {text!r} cannot be read: values are YAML.") from None
    return found


def _check_scenes(recipe: Recipe[Any]) -> None:
    """Both folders of scenes must be whole now, and not be missed after an hour."""
    if not recipe.reads_scenes:
        return
    try:
        _say(f"{recipe.name}: {len(recipe.data.train)} scenes to train on, {len(recipe.data.dev)} to compare with")
    except StaleCache as error:
        raise TrainingError(str(error)) from None


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"torch cannot use {device!r} here: {str(error).splitlines()[0]}") from None


def default_runs() -> Path:
    """Where runs are kept to go on from: `LLAVA_PLUS_RUNS_DIR`, else the user's cache folder."""
    chosen = os.environ.get("LLAVA_PLUS_RUNS_DIR")
    return Path(chosen) if chosen else Path(user_cache_dir("llava-plus")) / "runs"


def default_world() -> Path:
    from services.embedded.world.sprites import world_folder

    return world_folder()


def _checkpoints(needs: tuple[str, ...], runs: Path) -> dict[str, Path]:
    """Published checkpoints first, else those of runs on this machine."""
    found = {}
    for name in needs:
        places = [weights_folder() / name, runs / name / "checkpoint"]
        place = next((place for place in places if any((place / file).is_file() for file in CHECKPOINT_FILES)), None)
        if place is None:
            raise TrainingError(f"{name} must be trained first: `llava-plus embedded train {name}`.")
        found[name] = place
    return found


def render_world(world: Path | None, train: int, dev: int, workers: int) -> None:
    """Render the scenes to train on and to compare runs with; goes on where it was cut. More that are there are kept.

    Raises:
        TrainingError: the sprites cannot be had, the folder holds other scenes, or the disk has no room; the message
            says what to do.
    """
    from services.embedded.world.concepts import DEV_SEED, TRAIN_SEED, TRAIN_STYLES
    from services.embedded.world.sprites import WorldNotReady

    folder = world or default_world()
    try:
        for name, count, seed in (("train", train, TRAIN_SEED), ("dev", dev, DEV_SEED)):
            scenes = SceneCache.build(folder / name, count, seed, TRAIN_STYLES, workers, report=_say)
            _say(f"{folder / name}: {len(scenes)} scenes")
    except (WorldNotReady, StaleCache) as error:
        raise TrainingError(str(error)) from None


def _say(line: str) -> None:
    print(line, flush=True)
