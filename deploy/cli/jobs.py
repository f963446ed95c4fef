"""`llava-plus jobs`: what runs by itself; `llava-plus call TOOL --job` begins one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.ages import age
from deploy.cli.call import show_result
from deploy.cli.listing import ListsByItself
from deploy.cli.outcome import ending
from deploy.cli.picture_files import save_pictures
from deploy.cli.platform_client import AsJson, Url, connect, connect_briefly
from deploy.cli.results import clean
from deploy.cli.waiting import Waiting, waiting
from deploy.errors import DeployError
from llava_plus import Answer, Client, Job, ToolResult

app = typer.Typer(cls=ListsByItself, help="List, wait for and cancel jobs; `llava-plus call TOOL --job` begins one.")


def complete_job(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Job ids for the shell, with how they stand; none where the platform does not answer at once."""
    try:
        with connect_briefly(ctx.params.get("url")) as client, ending():
            page = client.jobs(100).data
    except DeployError:
        return []
    return [(one.id, f"{what(one)}: {one.status}") for one in page if one.id.startswith(incomplete)]


JobId = Annotated[str, typer.Argument(metavar="JOB", help="Its id.", autocompletion=complete_job)]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="PATH", help="Where pictures that it made, or its masks, go."),
]


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show the jobs that are kept, the newest first."""
    with ending(as_json=as_json), connect(url) as client:
        found = client.jobs(limit).data
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in found]))
        return
    for one in found:
        typer.echo(f"{one.id}  {age(one.created):>7}  {one.status:<9}  {what(one)}{_step(one)}")
    if not found:
        typer.echo("No job is kept.", err=True)


@app.command()
def show(job: JobId, as_json: AsJson = False, url: Url = None) -> None:
    """Say how a job stands."""
    with ending(as_json=as_json), connect(url) as client:
        found = client.job(job)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json")))
        return
    typer.echo(f"{found.id}  {what(found)}  {found.status}{_step(found)}  {found.elapsed_s:.1f} s")
    if found.error is not None:
        typer.echo(clean(str(found.error.get("message", found.error))))


@app.command()
def wait(job: JobId, output: Output = None, as_json: AsJson = False, url: Url = None) -> None:
    """Wait until a job is over, and show its result. Ctrl-C ends the wait, not the job."""
    with ending(as_json=as_json), connect(url) as client:
        with waiting("waiting") as shown:
            found = client.wait(job, lambda one: _tell(shown, one))
        _show(client, found, output, as_json)


@app.command()
def result(job: JobId, output: Output = None, as_json: AsJson = False, url: Url = None) -> None:
    """Show the result of a job that is over."""
    with ending(as_json=as_json), connect(url) as client:
        _show(client, client.job_result(job), output, as_json)


@app.command()
def cancel(job: JobId, as_json: AsJson = False, url: Url = None) -> None:
    """End a job. One that runs ends a moment later; one that is over stays as it is."""
    with ending(as_json=as_json), connect(url) as client:
        found = client.cancel_job(job)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json")))
        return
    typer.echo(f"{found.id}  {'ends' if found.cancel_requested and not found.over else found.status}")


def what(job: Job) -> str:
    """The tool's name, or `chat`."""
    return job.tool or job.type


def _step(job: Job) -> str:
    if job.over:
        return ""
    at = job.progress
    step = f"  {at.step}/{at.steps}" if at.step is not None and at.steps else ""
    return step + (f"  {clean(at.message)}" if at.message else "")


def _tell(shown: Waiting, job: Job) -> None:
    shown.say(f"{what(job)}: {job.status}{_step(job)}")


def _show(client: Client, found: ToolResult | Answer, output: Path | None, as_json: bool) -> None:
    if isinstance(found, ToolResult):
        show_result(client, found, output, as_json=as_json)
        return
    saved = save_pictures(client, found.produced_images, output) if output is not None else []
    files = [str(path) for path in saved]
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json") | {"files": files}, ensure_ascii=False))
        return
    typer.echo(clean(found.text))
    for file in files:
        typer.echo(f"saved: {file}")
