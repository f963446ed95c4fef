"""`llava-plus status`."""

from __future__ import annotations

import time

import typer

from deploy.command import typed
from deploy.processes import memory_of_run
from deploy.settings import DeploySettings
from deploy.state_dir import StateDir

NOT_RUNNING = 3


def show() -> int:
    """Print where the platform runs and what it takes.

    Returns:
        0 when ready or loading, 3 when nothing runs.
    """
    state = StateDir(DeploySettings().state_dir.expanduser().resolve())
    run = state.read()
    if not state.locked() or run is None:
        left = run is not None and memory_of_run(run.run_id)
        typer.echo(
            f"llava-plus was killed; `{typed('down')}` ends what it left." if left else "llava-plus does not run."
        )
        return NOT_RUNNING
    memory = memory_of_run(run.run_id)
    total_gb = sum(process.pss_bytes for process in memory) / 1e9
    typer.echo(f"{run.address}  {run.phase}  profile {run.profile}  process {run.pid}")
    typer.echo(f"up for {time.time() - run.started:.0f} s, {len(memory)} processes, {total_gb:.2f} GB (PSS)")
    return 0
