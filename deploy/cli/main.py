"""`llava-plus`: run, stop and look at the platform, and train its planner.

Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from deploy.cli.call import app as call_app
from deploy.cli.chat import chat
from deploy.cli.convert import convert
from deploy.cli.data import app as data_app
from deploy.cli.embedded import app as embedded_app
from deploy.cli.eval import app as eval_app
from deploy.cli.images import app as images_app
from deploy.cli.index import app as index_app
from deploy.cli.jobs import app as jobs_app
from deploy.cli.mcp import mcp
from deploy.cli.planner import app as planner_app
from deploy.cli.plug import plug
from deploy.cli.sessions import app as sessions_app
from deploy.cli.tools import tools
from deploy.cli.train import train
from deploy.errors import DeployError

app = typer.Typer(name="llava-plus", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(index_app, name="index")
app.add_typer(embedded_app, name="embedded")
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")
app.command()(convert)
app.command()(train)
app.command()(plug)
app.add_typer(planner_app, name="planner")
app.command()(chat)
app.add_typer(call_app, name="call")
app.command()(tools)
app.command()(mcp)
app.add_typer(sessions_app, name="sessions")
app.add_typer(images_app, name="images")
app.add_typer(jobs_app, name="jobs")


@app.command()
def up(
    profile: Annotated[str, typer.Option(help="Name of a profile, or the path of a YAML file.")] = "embedded",
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 unless configured.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 unless configured.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when ready; stop with `llava-plus down`.")] = False,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from deploy.cli.up import run_detached, run_here

    raise typer.Exit((run_detached if detach else run_here)(profile, host, port))


@app.command()
def down() -> None:
    """Stop what `up` started, also what is left of one that was killed."""
    from deploy.cli.down import stop

    raise typer.Exit(stop())


@app.command()
def status() -> None:
    """Say whether the platform runs, where, and with how much memory. Exit status 3 when it does not."""
    from deploy.cli.status import show

    raise typer.Exit(show())


@app.command()
def version() -> None:
    """Print the installed version."""
    typer.echo(installed_version("llava-plus-platform"))


def main() -> None:
    """The console script: what the person can mend is one line on standard error, without a traceback."""
    try:
        app()
    except DeployError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
