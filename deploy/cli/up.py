"""`llava-plus up`, in the foreground and detached."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time

import typer

from deploy.command import typed
from deploy.errors import UsageError
from deploy.preflight import check_all
from deploy.processes import end_run, of_run
from deploy.profile import load_profile, profile_path
from deploy.progress import Progress
from deploy.redis_server import wait_for_redis
from deploy.settings import DeploySettings
from deploy.state_dir import AlreadyRunning, StateDir

_FOLLOW_EVERY_S = 0.1


def run_here(profile: str, host: str | None, port: int | None) -> int:
    """Run until stopped.

    Returns:
        The exit status.

    Raises:
        UsageError: a check failed before anything was started.
    """
    settings = _settings(host, port)
    state = _state_dir(settings)
    redis_url = os.environ.get("REDIS_URL") or None
    loaded = load_profile(profile)
    try:
        with state.lock():
            asyncio.run(_clean_up_after_a_killed_run(state))
            folders = [settings.state_dir, settings.cache_dir]
            own_redis = redis_url is None
            check_all(
                loaded,
                host=settings.host,
                port=settings.port,
                grpc_port=settings.chosen_grpc_port,
                folders=folders,
                own_redis=own_redis,
            )
            if redis_url is not None:
                _check_redis(redis_url, settings.probe_timeout_s)
            # Only now: what it needs has been found installed.
            from deploy.supervisor import Supervisor

            state.rotate_logs()

            with Progress(sys.stdout) as progress:

                async def supervise() -> int:
                    supervisor = Supervisor(loaded, profile_path(profile), settings, state, progress, redis_url)
                    return await supervisor.run()

                return asyncio.run(supervise())
    except AlreadyRunning:
        raise _running_already(state) from None


def run_detached(profile: str, host: str | None, port: int | None) -> int:
    """Start in the background, show its lines until it is ready.

    Returns:
        0 once ready, else the exit status of the run that failed.
    """
    settings = _settings(host, port)
    state = _state_dir(settings)
    if state.locked():
        raise _running_already(state)
    command = [sys.executable, "-m", "deploy.cli.main", "up", "--profile", str(profile_path(profile))]
    command += ["--host", settings.host, "--port", str(settings.port)]
    with state.up_log.open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    with state.up_log.open(encoding="utf-8", errors="replace") as lines:
        try:
            while True:
                status = child.poll()
                run = state.read()
                ready = run is not None and run.pid == child.pid and run.phase == "ready"
                typer.echo(lines.read(), nl=False)
                if ready or status is not None:
                    return 0 if status is None else status
                time.sleep(_FOLLOW_EVERY_S)
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            status = child.wait()
            typer.echo(lines.read(), nl=False)
            return status


def _settings(host: str | None, port: int | None) -> DeploySettings:
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    from pydantic import ValidationError

    try:
        return DeploySettings.model_validate(DeploySettings().model_dump() | chosen)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"Setting {first['loc'][0]}: {first['msg']}.") from None


def _state_dir(settings: DeploySettings) -> StateDir:
    state = StateDir(settings.state_dir.expanduser().resolve())
    try:
        state.create()
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}. Set LLAVA_PLUS_STATE_DIR to a folder of yours."
        ) from None
    return state


def _running_already(state: StateDir) -> UsageError:
    run = state.read()
    where = f" at {run.address} (process {run.pid}, {run.phase})" if run else ""
    return UsageError(f"llava-plus runs already{where}: stop it with `{typed('down')}`.")


def _check_redis(url: str, timeout_s: float) -> None:
    try:
        problem = asyncio.run(wait_for_redis(url, timeout_s))
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise UsageError(f"REDIS_URL is set but Redis does not answer ({problem}): start it, or unset REDIS_URL.")


async def _clean_up_after_a_killed_run(state: StateDir) -> None:
    run = state.read()
    if run is not None:
        if of_run(run.run_id):
            typer.echo("Cleaning up what a killed run left.")
        await end_run(run.run_id, grace_s=DeploySettings().kill_grace_s)
        state.forget()
    shutil.rmtree(state.root / "run", ignore_errors=True)
