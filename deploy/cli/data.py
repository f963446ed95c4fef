"""`llava-plus data`: build planner data from a recipe, and look at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

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
    from planner.data.recipe import DataError
    from planner.data.report import write_report

    try:
        typer.echo(write_report(folder))
    except DataError as error:
        raise UsageError(str(error)) from None


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="llava_instruct_158k.json, or another file of LLaVA's.", exists=True)],
    out: Annotated[Path, typer.Argument(help="JSON lines to write.")],
) -> None:
    """Turn LLaVA's instruction data into planner data: thoughts and empty actions are added."""
    from planner.data.llava.convert import converted

    typer.echo(f"{_written(out, lambda: converted(source))} samples in {out}")


@app.command()
def pairs(
    source: Annotated[Path, typer.Argument(help="Pictures with captions: .json, .jsonl or .tsv.", exists=True)],
    out: Annotated[Path, typer.Argument(help="JSON lines to write.")],
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
) -> None:
    """Filter picture and text pairs for stage 1 by how often their noun phrases occur."""
    from planner.data.llava.pairs import filtered, read_pairs, samples

    count = _written(out, lambda: samples(filtered(read_pairs(source), seed), seed))
    typer.echo(f"{count} pairs in {out}")


def _written(out: Path, make: Callable[[], Iterable[dict[str, Any]]]) -> int:
    from planner.data.recipe import DataError

    try:
        lines = [json.dumps(sample, ensure_ascii=False) for sample in make()]
    except DataError as error:
        raise UsageError(str(error)) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)
