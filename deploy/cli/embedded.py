"""`llava-plus embedded`: render the synthetic world, train the tiny checkpoints on it, score them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UsageError

app = typer.Typer(help="The synthetic world and the tiny checkpoints trained on it.", no_args_is_help=True)

MINUTES = (
    "Training time of the whole run, earlier parts included, by which the learning rate has fallen; all steps of the "
    "recipe when absent."
)
FROM_PUBLISHED = (
    "Where there is no run to go on with, go on from the package's checkpoint. The steps and minutes that it has had "
    "count, so give more --minutes, or --set steps=NUMBER."
)
World = Annotated[Path | None, typer.Option(help="Folder of rendered scenes; a cache folder of yours when absent.")]


@app.command("list")
def list_recipes() -> None:
    """Show the recipes, and how well the published checkpoint of each does on the dev scenes."""
    from services.embedded.training.publish import published_card
    from services.embedded.training.recipe import recipe_names

    for name in recipe_names():
        card = published_card(name)
        figures = ", ".join(f"{key} {value}" for key, value in card["dev"].items()) if card else "not published"
        typer.echo(f"{name:<18} {figures}")


@app.command()
def render(
    world: World = None,
    train: Annotated[int, typer.Option(min=1, help="Scenes to train on.")] = 30_000,
    dev: Annotated[int, typer.Option(min=1, help="Scenes to compare runs with.")] = 1_000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Render the scenes that recipes train on (about 330 kB a scene); goes on where it was cut.

    Scenes that are there are kept: a larger number adds to them, a smaller one changes nothing.
    """
    from services.embedded.training.command import TrainingError, render_world

    try:
        render_world(world, train, dev, workers)
    except TrainingError as error:
        raise UsageError(str(error)) from None


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The recipe; `llava-plus embedded list` shows them.")],
    world: World = None,
    runs: Annotated[Path | None, typer.Option(help="Folder of runs.")] = None,
    device: Annotated[str, typer.Option(help="torch device, for example cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Loader processes.")] = 1,
    minutes: Annotated[float | None, typer.Option(help=MINUTES)] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE changes a setting.")] = None,
    publish: Annotated[bool, typer.Option(help="Put a better checkpoint into the package.")] = True,
    from_published: Annotated[bool, typer.Option("--from-published", help=FROM_PUBLISHED)] = False,
) -> None:
    """Train one checkpoint. A run that was cut goes on; what scores higher than the published one replaces it.

    A run's folder has its state, its curve (curve.json, curve.png), samples.png and its checkpoint. Remove it to start
    again.
    """
    from services.embedded.training.command import TrainingError, TrainRequest, run

    request = TrainRequest(name, world, runs, device, workers, minutes, tuple(setting or ()), publish, from_published)
    try:
        run(request)
    except TrainingError as error:
        raise UsageError(str(error)) from None


@app.command("eval")
def evaluate(
    only: Annotated[list[str] | None, typer.Option(help="Score this skill alone; may be repeated.")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes in style.")] = 500,
    unseen: Annotated[int, typer.Option(min=1, help="Held-out scenes in the unseen style.")] = 200,
    painted: Annotated[int, typer.Option(min=2, help="Pictures asked of each skill that paints.")] = 60,
    world: World = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs; results are kept in it, a skill at a time.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder for the report; beside the results when absent.")] = None,
    fresh: Annotated[bool, typer.Option(help="Score again what was scored already.")] = False,
) -> None:
    """Score the published checkpoints on held-out scenes and write the report; goes on where it was cut."""
    from services.embedded.eval.command import EvalRequest, EvaluationError, run

    request = EvalRequest(tuple(only or ()), scenes, unseen, painted, world, runs, docs, fresh)
    try:
        page = run(request, typer.echo)
    except EvaluationError as error:
        raise UsageError(str(error)) from None
    typer.echo(page)
