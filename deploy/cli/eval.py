"""`llava-plus eval`: score a planner, alone and through a running platform."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UsageError

app = typer.Typer(help="Score a planner: tool use, whole turns, published benchmarks, the cost of mistakes.")

Out = Annotated[Path | None, typer.Option(help="Folder of results; runs/evaluation/SUITE when absent.")]
Fresh = Annotated[bool, typer.Option(help="Score again what was scored already.")]
Minutes = Annotated[float | None, typer.Option(min=0.1, help="Begin nothing new after this time.")]
AtOnce = Annotated[int, typer.Option(min=1, help="Requests under way at the same time.")]


@app.command("tool-use")
def tool_use(
    planner: Annotated[
        str, typer.Option(help="embedded, embedded-vllm, or the URL of an OpenAI-compatible endpoint.")
    ] = "embedded",
    gateway: Annotated[str | None, typer.Option(help="Score the planner of a running platform, at this URL.")] = None,
    model: Annotated[
        str, typer.Option(help="The endpoint's model, or a folder of the embedded planner's weights.")
    ] = "",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")] = "",
    dialect: Annotated[str, typer.Option(help="json, llava_plus_v0 or openai_tools; by the planner when absent.")] = "",
    profile: Annotated[
        str, typer.Option(help="Whose planner settings tell an embedded planner of skills.")
    ] = "embedded",
    skills: Annotated[str | None, typer.Option(help="Skills to offer, parted by commas; 'all' for all.")] = None,
    requests: Annotated[Path | None, typer.Option(help="Another file of requests.", exists=True)] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Play about this many, evenly over the rows.")] = None,
    minutes: Minutes = None,
    at_once: AtOnce = 1,
    out: Out = None,
    fresh: Fresh = False,
) -> None:
    """Tool choice, arguments, needless calls and refusals on requests written by hand; goes on where it was cut."""
    from deploy.evaluation import told_skills
    from planner.eval.cases import TOOL_USE, load_cases, sampled
    from planner.eval.command import RESULTS, EvaluationError, PlannerChoice
    from planner.eval.journal import JournalError

    names, learned = told_skills(planner, profile, skills)
    choice = PlannerChoice(planner, model, key_env, dialect, names, learned)
    path = requests or TOOL_USE
    folder = out or RESULTS / "tool_use"
    cases = sampled(load_cases(path), sample)
    stop = time.monotonic() + minutes * 60 if minutes else None
    try:
        from deploy.evaluation import score_tool_use

        page = asyncio.run(score_tool_use(choice, gateway, path, cases, folder, at_once, stop, fresh, typer.echo))
    except (EvaluationError, JournalError) as error:
        raise UsageError(str(error)) from None
    _show(page)


@app.command()
def world(
    gateway: Annotated[str, typer.Option(help="The running platform's URL.")] = "http://127.0.0.1:8000",
    each: Annotated[int, typer.Option(min=1, help="Questions of each row of LLaVA-Plus' Table 2.")] = 26,
    mode: Annotated[str | None, typer.Option(help="fly or all_tools; the platform's own when absent.")] = None,
    minutes: Minutes = None,
    at_once: AtOnce = 1,
    out: Out = None,
    fresh: Fresh = False,
) -> None:
    """Whole turns on held-out scenes of the embedded world, their answers checked; goes on where it was cut."""
    from deploy.evaluation import score_world
    from planner.eval.command import RESULTS, EvaluationError
    from planner.eval.journal import JournalError

    stop = time.monotonic() + minutes * 60 if minutes else None
    folder = out or RESULTS / "world"
    try:
        page = asyncio.run(score_world(gateway, each, mode, folder, at_once, stop, fresh, typer.echo))
    except (EvaluationError, JournalError) as error:
        raise UsageError(str(error)) from None
    _show(page)


def _show(page: Path) -> None:
    typer.echo(page.read_text(encoding="utf-8"))
    typer.echo(f"Written: {page} and {page.with_suffix('.json')}")
