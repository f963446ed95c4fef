"""`llava-plus data`: build planner data from a recipe, and look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UsageError

app = typer.Typer(help="Data that planners learn from.", no_args_is_help=True)

Recipe = Annotated[str, typer.Argument(help="A recipe's YAML file, or the name of a built-in one, such as embedded.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the data; runs/data/NAME when absent.")]


@app.command()
def build(
    recipe: Recipe,
    out: Out = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples, in place of the recipe's number.")] = None,
    world: Annotated[Path | None, typer.Option(help="Folder of rendered scenes; a cache folder when absent.")] = None,
) -> None:
    """Build a data set with its report; a build that was cut goes on with the next shard."""
    from deploy.planner_data import BuildRequest, build_data
    from planner.data.recipe import DataError

    try:
        report = build_data(BuildRequest(recipe, out, samples, world), typer.echo)
    except DataError as error:
        raise UsageError(str(error)) from None
    typer.echo(report)


@app.command()
def rows() -> None:
    """Show the kinds of conversation that a recipe may name, with the skills that they need."""
    from planner.data.rows import ROWS

    for row in ROWS.values():
        typer.echo(f"{row.name:<26} {row.title:<44} {', '.join(row.skills)}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A folder of built data.", exists=True)]) -> None:
    """Write the report of built data again: counts, duplicates, samples with pictures."""
    from planner.data.report import write_report

    typer.echo(write_report(folder))
