"""`llava-plus down`."""

from __future__ import annotations

import asyncio
import time

import psutil
import typer

from deploy.processes import end_run, of_run
from deploy.settings import DeploySettings
from deploy.state_dir import RunState, StateDir

_LOOK_EVERY_S = 0.1
_STARTING = "llava-plus is just starting: try again in a second."
_CLOCK_SLACK_S = 1.0


def stop() -> int:
    """Ask the supervisor to stop and wait for it; without one, end what a killed one left.

    Returns:
        0: nothing runs any more. 1: the supervisor did not stop in time.
    """
    settings = DeploySettings()
    state = StateDir(settings.state_dir.expanduser().resolve())
    run = state.read()
    if state.locked():
        if run is None:
            typer.echo(_STARTING, err=True)
            return 1
        typer.echo(f"Stopping llava-plus at {run.address} (process {run.pid}) ...")
        if not ask(run) and state.locked():
            # The lock is another's, who has yet to write down itself.
            typer.echo(_STARTING, err=True)
            return 1
        until = time.monotonic() + settings.gateway_grace_s + 2 * settings.stop_grace_s + 2 * settings.kill_grace_s
        while state.locked():
            if time.monotonic() > until:
                typer.echo(f"Process {run.pid} did not stop; its log: {state.up_log}", err=True)
                return 1
            time.sleep(_LOOK_EVERY_S)
        typer.echo("Stopped; no process is left." if not of_run(run.run_id) else "Stopped.")
        return 0
    if run is None:
        typer.echo("llava-plus does not run.")
        return 0
    # Its processes end by themselves when it dies; Redis writes its data meanwhile. Then look for the rest.
    orphans = of_run(run.run_id)
    typer.echo(f"The supervisor was killed; ending what it left ({len(orphans)} processes) ...")
    psutil.wait_procs(orphans, settings.kill_grace_s)
    asyncio.run(end_run(run.run_id, grace_s=settings.kill_grace_s))
    state.forget()
    typer.echo("Stopped; no process is left.")
    return 0


def ask(run: RunState) -> bool:
    """Send SIGTERM to a run's supervisor, never to a later process with its id.

    The supervisor itself does not carry its run's mark, but it is older than the run that it wrote down.

    Returns:
        False when it is gone.
    """
    try:
        process = psutil.Process(run.pid)
        if process.create_time() > run.started + _CLOCK_SLACK_S:
            return False
        process.terminate()
    except psutil.NoSuchProcess:
        return False
    return True
