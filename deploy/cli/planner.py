"""`llava-plus planner`: the LoRA adapters of the running planner."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.errors import DeployError, UsageError

DEADLINE_S = 120.0

app = typer.Typer(help="Look after the running planner.", no_args_is_help=True)
adapters_app = typer.Typer(help="LoRA adapters, loaded and dropped without a restart.", no_args_is_help=True)
app.add_typer(adapters_app, name="adapters")

Name = Annotated[str, typer.Argument(help="The adapter's name.")]


@adapters_app.command("list")
def listed() -> None:
    """Show the adapters; a star marks the one that answers where a call names none."""
    _show(ask({"do": "list"}))


@adapters_app.command()
def add(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Its folder, as `llava-plus train` writes it.", exists=True)],
    skills: Annotated[str, typer.Option(help="Skills that it was trained for, with commas between.")] = "",
    use: Annotated[bool, typer.Option("--use", help="Let it answer from now on.")] = False,
) -> None:
    """Load an adapter into the running planner, in the place of one of the same name."""
    named = [skill.strip() for skill in skills.split(",") if skill.strip()]
    _show(ask({"do": "add", "name": name, "folder": str(folder.resolve()), "skills": named, "active": use}))


@adapters_app.command()
def remove(name: Name) -> None:
    """Drop an adapter; calls that run with it end as they began."""
    _show(ask({"do": "remove", "name": name}))


@adapters_app.command()
def use(
    name: Annotated[str, typer.Argument(help="The adapter that answers from now on; `none`: the model alone.")],
) -> None:
    """Choose which adapter answers where a call names none."""
    _show(ask({"do": "use", "name": None if name == "none" else name}))


def ask(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The planner's adapters after `request` (`planner.adapters.AdapterRequest`).

    Raises:
        UsageError: nothing runs here, or the planner refuses; says why.
        DeployError: the planner does not answer.
    """
    connect()
    return asyncio.run(_ask(request))


def connect() -> None:
    """Join the Ray of the platform that runs here, or the one that RAY_ADDRESS names.

    Raises:
        UsageError: nothing runs here.
    """
    from deploy.confine import keep_ray_on_loopback
    from deploy.environment import child_environment
    from deploy.settings import DeploySettings
    from deploy.state_dir import StateDir

    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        state = StateDir(DeploySettings().state_dir.expanduser().resolve())
        run = state.read()
        if run is None or not state.locked() or run.ray_address is None:
            raise UsageError("llava-plus does not run here: start it, or set RAY_ADDRESS to the cluster's address.")
        address = run.ray_address
        # Without the run's id: `down` must not take this command for one of the run's processes. Only Ray's variables
        # are wanted; a run knows its profile by name, which says nothing of where a file of somebody's own lies.
        ours = child_environment(
            {}, run_id="", redis_url="", profile=Path(run.profile), token_file=state.token_file, extra={}
        )
        os.environ |= {name: value for name, value in ours.items() if name.startswith("RAY_")}
        keep_ray_on_loopback()
    import ray

    try:
        ray.init(address=address, namespace="llava-plus", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        raise DeployError(f"Ray at {address} cannot be reached: {str(error).splitlines()[0]}") from None


async def _ask(request: dict[str, Any]) -> list[dict[str, Any]]:
    from deploy.profile import PLANNER_APPLICATION
    from planner.api import PlannerUnavailable
    from planner.serve_engine import ServeEngine
    from services.core.context import CallContext
    from services.core.handles import AppStatus

    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # its own news are none for who asked
    engine = ServeEngine(PLANNER_APPLICATION, AppStatus())
    context = CallContext(request_id="adapters", owner="admin", deadline=time.time() + DEADLINE_S)
    try:
        answer = await engine.adapters(request, context)
    except PlannerUnavailable as error:
        raise DeployError(str(error)) from None
    if "refused" in answer:
        raise UsageError(str(answer["refused"]))
    adapters: list[dict[str, Any]] = answer["adapters"]
    return adapters


def _show(adapters: list[dict[str, Any]]) -> None:
    if not adapters:
        typer.echo("No adapters: the model answers alone.")
    for adapter in adapters:
        skills = f"  for {', '.join(adapter['skills'])}" if adapter["skills"] else ""
        mark = "*" if adapter["active"] else " "
        typer.echo(f"{mark} {adapter['name']}  rank {adapter['rank']}{skills}  {adapter['folder']}")
