"""`llava-plus eval`: score a planner, alone and through a running platform."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UsageError

app = typer.Typer(help="Score a planner: tool use, whole turns, published benchmarks, the cost of mistakes.")


@contextmanager
def _said_in_one_line() -> Iterator[None]:
    """What the person can mend becomes one line."""
    from planner.api import PlannerUnavailable
    from planner.eval.command import EvaluationError
    from planner.eval.journal import JournalError

    try:
        yield
    except (EvaluationError, JournalError, PlannerUnavailable) as error:
        raise UsageError(str(error)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """The orchestrator's log lines of every step are kept from the terminal; warnings are not."""
    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield
    finally:
        structlog.configure(**before)


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
        str,
        typer.Option(help="The endpoint's model; for the embedded planner weights, an adapter, or a training run."),
    ] = "",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")] = "",
    dialect: Annotated[str, typer.Option(help="json, llava_plus_v0 or openai_tools; by the planner when absent.")] = "",
    profile: Annotated[
        str, typer.Option(help="Whose planner settings tell an embedded planner of skills.")
    ] = "embedded",
    skills: Annotated[str | None, typer.Option(help="Skills to offer, parted by commas; 'all' for all.")] = None,
    learned: Annotated[
        str | None, typer.Option(help="Skills that the planner knows by name; 'all'; the profile's when absent.")
    ] = None,
    requests: Annotated[Path | None, typer.Option(help="Another file of requests.", exists=True)] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", "--limit", min=1, help="Play about this many, evenly over the rows.")
    ] = None,
    minutes: Minutes = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Requests under way at the same time; 16 for embedded-vllm, else 1.")
    ] = None,
    out: Out = None,
    fresh: Fresh = False,
) -> None:
    """Tool choice, arguments, needless calls and refusals on requests written by hand; goes on where it was cut."""
    from deploy.evaluation import score_tool_use, told_skills
    from planner.eval.cases import TOOL_USE, load_cases, sampled
    from planner.eval.command import RESULTS, PlannerChoice

    names, known = told_skills(planner, profile, skills, learned)
    choice = PlannerChoice(planner, model, key_env, dialect, names, known)
    at_once = at_once or (1 if gateway else choice.at_once)
    path = requests or TOOL_USE
    folder = out or RESULTS / "tool_use"
    cases = sampled(load_cases(path), sample)
    with _said_in_one_line():
        page = asyncio.run(score_tool_use(choice, gateway, path, cases, folder, at_once, minutes, fresh, typer.echo))
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
    from deploy.world_evaluation import score_world
    from planner.eval.command import RESULTS

    folder = out or RESULTS / "world"
    with _said_in_one_line():
        page = asyncio.run(score_world(gateway, each, mode, folder, at_once, minutes, fresh, typer.echo))
    _show(page)


def _show(page: Path) -> None:
    typer.echo(page.read_text(encoding="utf-8"))
    typer.echo(f"Written: {page} and {page.with_suffix('.json')}")


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="llava-bench-coco, -wild, -tools, seed-bench, mm-vet, visit-bench, ...")],
    data: Annotated[Path, typer.Option(help="Folder of the benchmark's published files.", exists=True)],
    row: Annotated[str, typer.Option(help="Name of this run in the tables.")] = "LLaVA-Plus (Fly)",
    gateway: Annotated[str | None, typer.Option(help="A running platform answers.")] = None,
    mode: Annotated[str | None, typer.Option(help="fly or all_tools, for a platform.")] = None,
    url: Annotated[str | None, typer.Option(help="A model behind an OpenAI-compatible endpoint answers.")] = None,
    model: Annotated[str, typer.Option(help="That model's name.")] = "",
    answers: Annotated[Path | None, typer.Option(help="A file of answers that there are already.", exists=True)] = None,
    key_env: Annotated[str, typer.Option(help="Environment variable with the model's key.")] = "",
    judge: Annotated[str | None, typer.Option(help="URL of the judge, OpenAI-compatible.")] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's name.")] = "",
    judge_key_env: Annotated[str, typer.Option(help="Environment variable with the judge's key.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="How often MM-Vet's answers are graded.")] = 5,
    at_once: AtOnce = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of all runs; runs/evaluation/benchmarks when absent.")
    ] = None,
) -> None:
    """One published benchmark; its files are yours to fetch. Answers and judgements are kept and not asked twice."""
    from deploy.evaluation import BenchmarkRequest, score_benchmark
    from planner.eval.command import RESULTS

    request = BenchmarkRequest(
        name=name,
        row=row,
        data=data,
        out=out or RESULTS / "benchmarks",
        gateway=gateway,
        mode=mode,
        url=url,
        model=model,
        key_env=key_env,
        answers=answers,
        judge=judge,
        judge_model=judge_model,
        judge_key_env=judge_key_env,
        repeats=repeats,
        at_once=at_once,
    )
    with _said_in_one_line():
        typer.echo(asyncio.run(score_benchmark(request, typer.echo)))


@app.command()
def tables(
    out: Annotated[
        Path | None, typer.Option(help="Folder of all runs; runs/evaluation/benchmarks when absent.")
    ] = None,
) -> None:
    """Print LLaVA-Plus' Tables 4 to 7 and the other benchmarks' from all runs so far."""
    from planner.eval.benchmarks.tables import collected
    from planner.eval.benchmarks.tables import tables as printed
    from planner.eval.command import RESULTS

    typer.echo(printed(collected(out or RESULTS / "benchmarks")))


@app.command()
def mistakes(
    gateway: Annotated[str, typer.Option(help="A running platform, whose skills are used.")] = "http://127.0.0.1:8000",
    planner: Annotated[str, typer.Option(help="embedded, embedded-vllm, or an endpoint's URL.")] = "embedded",
    model: Annotated[str, typer.Option(help="The endpoint's model, or a folder of weights.")] = "",
    key_env: Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")] = "",
    profile: Annotated[
        str, typer.Option(help="Whose planner settings tell an embedded planner of skills.")
    ] = "embedded",
    each: Annotated[int, typer.Option(min=1, help="Questions of each row.")] = 5,
    kinds: Annotated[str, typer.Option(help="Kinds of mistakes, parted by commas; all when empty.")] = "",
    minutes: Minutes = None,
    at_once: AtOnce = 1,
    out: Out = None,
    fresh: Fresh = False,
) -> None:
    """What a wrong tool choice or a failing skill costs: how often turns still end right, and how."""
    from deploy.evaluation import told_skills
    from deploy.world_evaluation import score_mistakes
    from planner.eval.command import RESULTS, PlannerChoice

    names, learned = told_skills(planner, profile, None)
    choice = PlannerChoice(planner, model, key_env, "", names, learned)
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    folder = out or RESULTS / "mistakes"
    with _said_in_one_line(), _quiet():
        page = asyncio.run(score_mistakes(choice, gateway, each, wanted, folder, at_once, minutes, fresh, typer.echo))
    _show(page)


@app.command()
def ablations(
    config: Annotated[
        Path | None, typer.Option(help="A file of variants; the papers' when absent.", exists=True)
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Train variants without weights first; resumes.")] = False,
    profile: Annotated[
        str, typer.Option(help="Whose planner settings tell an embedded planner of skills.")
    ] = "embedded",
    sample: Annotated[int | None, typer.Option(min=1, help="Play about this many requests.")] = None,
    minutes: Minutes = None,
    out: Out = None,
    fresh: Fresh = False,
) -> None:
    """Several planners on the hand-written requests, in one table; those without weights are listed as such."""
    from deploy.evaluation import score_ablations
    from planner.eval.ablations import SHIPPED, Study, train_missing
    from planner.eval.command import RESULTS

    folder, variants = out or RESULTS / "ablations", config or SHIPPED
    with _said_in_one_line():
        if train:
            train_missing(Study.load(variants), typer.echo, minutes)
        page = asyncio.run(score_ablations(variants, profile, sample, folder, minutes, fresh, typer.echo))
    _show(page)


@app.command()
def report(
    results: Annotated[Path | None, typer.Option(help="Folder of results; runs/evaluation when absent.")] = None,
    page: Annotated[Path, typer.Option(help="The page that the figures are put into.")] = Path("docs/planner.md"),
) -> None:
    """Print every figure of all suites that were run, and record them in docs/planner.md."""
    from planner.eval.command import RESULTS, EvaluationError
    from planner.eval.report import figures, put

    body = figures(results or RESULTS)
    try:
        put(page, body)
    except (EvaluationError, OSError) as error:
        raise UsageError(str(error)) from None
    typer.echo(body)
    typer.echo(f"Written: {page}")
