"""The process that starts Ray and Serve for `llava-plus up`: `python -m deploy.cluster`.

It is a process of its own so that the supervisor stays small and answers signals at once, and so that
Ray's processes, which die with the process that started them, cannot outlive it. It reads a
`ClusterConfig` and then commands from standard input, a JSON line each, and writes events to standard
output in the same way; it stops in order when told to, on SIGTERM, and when its input ends, which is
when the supervisor has died.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict

from deploy.confine import keep_ray_on_loopback
from deploy.profile import PLANNER_APPLICATION, Profile

POLL_LOADING_S = 0.25
POLL_READY_S = 2.0
SILENCE_S_MAX = 30.0

_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*: \S")


class ClusterConfig(BaseModel):
    """What the cluster process is told first."""

    model_config = ConfigDict(frozen=True)

    profile: Profile
    redis_url: str
    temp_dir: Path


class Command(BaseModel):
    """What it is told later. `deploy_planner` brings the folder of a model that had to be built first."""

    model_config = ConfigDict(frozen=True)

    do: Literal["deploy_planner", "stop"]
    model: Path | None = None


class Event(BaseModel):
    """What it says.

    Attributes:
        about: "ray", "serve", or the name of an application.
        state: "ready" may be followed by "loading" when replicas are lost.
    """

    model_config = ConfigDict(frozen=True)

    about: str
    state: Literal["loading", "ready", "failed"]
    detail: str = ""


def main() -> int:
    events = claim_stdout()

    def say(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    config = ClusterConfig.model_validate_json(sys.stdin.readline())
    commands: queue.Queue[Command] = queue.Queue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    try:
        _start(config, say)
    except Exception as error:  # noqa: BLE001 - the process's edge; the traceback goes to its log
        traceback.print_exc()
        say(Event(about="ray", state="failed", detail=_last_line(str(error))))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: commands.put(Command(do="stop")))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _run(config, commands, say)
    finally:
        _stop()
    return 0


def claim_stdout() -> TextIO:
    """Standard output for events alone: what Ray prints goes to standard error."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _read_commands(commands: queue.Queue[Command]) -> None:
    for line in sys.stdin:
        commands.put(Command.model_validate_json(line))
    commands.put(Command(do="stop"))


def _start(config: ClusterConfig, say: Callable[[Event], None]) -> None:
    say(Event(about="ray", state="loading", detail="starting"))
    keep_ray_on_loopback()
    import ray
    from ray import serve

    ray.init(
        address="local",
        num_cpus=config.profile.ray.num_cpus,
        num_gpus=config.profile.ray.num_gpus,
        object_store_memory=config.profile.ray.object_store_bytes,
        include_dashboard=False,
        log_to_driver=False,
        namespace="llava-plus",
        _temp_dir=str(config.temp_dir),
    )
    say(Event(about="ray", state="ready", detail=ray.get_runtime_context().gcs_address))
    say(Event(about="serve", state="loading", detail="starting"))
    serve.start(proxy_location="Disabled")
    say(Event(about="serve", state="ready"))


def _run(config: ClusterConfig, commands: queue.Queue[Command], say: Callable[[Event], None]) -> None:
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from deploy.build import build_planner_app, build_skill_app

    profile = config.profile
    application_of = profile.application_of()
    targets = {app.name: build_skill_app(app, config.redis_url, application_of) for app in profile.applications}
    if profile.planner is not None and not profile.planner.embedded:
        targets[PLANNER_APPLICATION] = build_planner_app(profile.planner, config.redis_url)
    _deploy(targets)
    hosted = {application.name: ", ".join(application.skills) for application in profile.applications}
    known: dict[str, Event] = {}
    silent_since: float | None = None
    while True:
        try:
            applications = serve.status().applications
            silent_since = None
        except (RayError, RayServeException) as error:
            # Serve's controller is restarted when it dies; the replicas answer meanwhile.
            traceback.print_exc()
            applications = {}
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since >= SILENCE_S_MAX:
                reason = f"no answer for {SILENCE_S_MAX:.0f} s: {_last_line(str(error))}"
                say(Event(about="serve", state="failed", detail=reason))
                return
        for name, status in applications.items():
            event = _event(name, status, hosted.get(name, "the model"))
            if known.get(name) != event:
                known[name] = event
                say(event)
        loading = any(event.state == "loading" for event in known.values())
        try:
            command = commands.get(timeout=POLL_LOADING_S if loading else POLL_READY_S)
        except queue.Empty:
            continue
        if command.do == "stop":
            return
        if profile.planner is not None:
            _deploy({PLANNER_APPLICATION: build_planner_app(profile.planner, config.redis_url, command.model)})


def _deploy(targets: Mapping[str, Any]) -> None:
    """Hand applications to Serve without waiting for them."""
    from ray import serve

    if targets:
        apps = [serve.RunTarget(target, name=name, route_prefix=None) for name, target in targets.items()]
        serve.run_many(apps, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def _event(name: str, status: Any, content: str) -> Event:
    """Serve's status of an application, in one line."""
    if status.status == "RUNNING":
        return Event(about=name, state="ready")
    # The application's own message only says that a deployment failed.
    messages = [*(deployment.message for deployment in status.deployments.values()), status.message]
    reason = next((message for message in messages if message), "")
    if status.status == "DEPLOY_FAILED":
        sys.stderr.write(f"{reason}\n")
        return Event(about=name, state="failed", detail=_last_line(reason))
    replicas = {state for deployment in status.deployments.values() for state in deployment.replica_states}
    if status.status == "UNHEALTHY":
        return Event(about=name, state="loading", detail="replacing a lost replica")
    return Event(about=name, state="loading", detail=f"loading {content}" if replicas else "starting a process")


def _last_line(text: str) -> str:
    """The line of a traceback that says what went wrong: the last `module.Exception: message`."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _EXCEPTION.match(line) and not line.endswith("(most recent call last):")]
    return (errors or lines or ["no reason given; see the log"])[-1].strip()


def _stop() -> None:
    import ray
    from ray import serve

    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
