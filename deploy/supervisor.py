"""`llava-plus up`: starts every component, watches them, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from deploy.children import Child
from deploy.cluster import ClusterConfig, Command, Event
from deploy.command import typed
from deploy.environment import child_environment
from deploy.errors import ComponentFailed
from deploy.gateway_process import GatewayProcess
from deploy.processes import end_run
from deploy.profile import PLANNER_APPLICATION, Profile
from deploy.progress import Progress
from deploy.redis_server import embedded_command, embedded_url, wait_for_redis
from deploy.settings import DeploySettings
from deploy.state_dir import RunState, StateDir, write_private

PLANNER_MODEL = "planner model"
INTERRUPTED = 130


class Supervisor:
    """One run of the platform. The caller holds the state folder's lock.

    Args:
        profile_file: where `profile` was read; the gateway reads it too.
        redis_url: an external Redis, already known to answer; None runs the embedded one.
    """

    def __init__(
        self,
        profile: Profile,
        profile_file: Path,
        settings: DeploySettings,
        state: StateDir,
        progress: Progress,
        redis_url: str | None,
    ) -> None:
        self._profile = profile
        self._settings = settings
        self._state = state
        self._progress = progress
        self._run_id = secrets.token_hex(8)
        self._run_dir = state.run_dir()
        self._socket = self._run_dir / "redis.sock"
        self._own_redis = redis_url is None
        self._redis_url = redis_url or embedded_url(self._socket)
        self._environment = child_environment(
            os.environ,
            run_id=self._run_id,
            redis_url=self._redis_url,
            profile=profile_file,
            token_file=state.token_file,
            extra=profile.environment,
        )
        self._gateway = GatewayProcess(settings, state.log("gateway"), progress, self._fail)
        self._redis: Child | None = None
        self._cluster: Child | None = None
        self._builder: Child | None = None
        self._ray_ready = asyncio.Event()
        self._apps_left = {app.name for app in profile.applications}
        if profile.planner is not None:
            self._apps_left.add(PLANNER_APPLICATION)
        self._apps_ready = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._hasten = asyncio.Event()
        self._stopping = False
        self._failure: ComponentFailed | None = None
        self._failed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Start, announce, wait, stop.

        Returns:
            The exit status: 0 after an orderly stop, 1 when a component failed, 130 when stopped while loading.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        write_private(self._state.token_file, secrets.token_hex(32))
        address = self._gateway.address
        started = time.time()
        profile, folder = self._profile.name, str(self._run_dir)
        self._state.write(RunState(os.getpid(), self._run_id, address, profile, started, folder))
        self._expect()
        try:
            if not await self._started():
                return 1 if self._failure is not None else INTERRUPTED
            ready_s = round(self._progress.elapsed_s, 1)
            self._progress.text(f"\nReady in {ready_s} s: {address}\n\n{things_to_try(address, self._profile)}\n")
            # Written last: whoever waits for it may read the announcement at once.
            self._state.update(phase="ready", ready_s=ready_s, ray_address=self._environment.get("RAY_ADDRESS"))
            self._gateway.keep_alive()
            await self._first_of(self._stop_asked, self._failed)
            return 1 if self._failure is not None else 0
        finally:
            await self._stop()

    async def _started(self) -> bool:
        """Start everything; False when that failed, took too long, or was called off."""
        start = self._spawn(self._start())
        stop = asyncio.ensure_future(self._first_of(self._stop_asked, self._failed))
        done, _ = await asyncio.wait(
            {start, stop}, timeout=self._settings.start_deadline_s, return_when=asyncio.FIRST_COMPLETED
        )
        stop.cancel()
        if start in done and self._failure is None:
            return True
        if not done:
            waiting = ", ".join(sorted(self._apps_left)) or "the gateway"
            self._fail(ComponentFailed(f"Not ready after {self._settings.start_deadline_s:.0f} s: {waiting}."))
        start.cancel()
        return False

    def _expect(self) -> None:
        components = ["redis", "ray", "serve", *(app_title(app.name) for app in self._profile.applications)]
        if self._profile.planner is not None:
            components += [PLANNER_MODEL] if self._profile.planner.embedded else []
            components.append(PLANNER_APPLICATION)
        self._progress.expect(*components, "gateway")

    async def _start(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_redis())
            group.create_task(self._start_cluster())
            if self._profile.planner is not None and self._profile.planner.embedded:
                group.create_task(self._build_model())
            await self._ray_ready.wait()
            await self._gateway.start(self._environment)
            group.create_task(self._gateway.wait_ready())
            await self._apps_ready.wait()

    async def _start_redis(self) -> None:
        self._progress.set("redis", "loading", "starting")
        if self._own_redis:
            command = embedded_command(self._profile.redis, self._socket, self._state.redis_data)
            log = self._state.log("redis")
            self._redis = await Child.start("redis", command, env=self._environment, log=log)
            self._must_live(self._redis)
        problem = await wait_for_redis(self._redis_url, self._settings.start_deadline_s)
        if problem is not None:
            raise ComponentFailed(f"Redis does not answer: {problem}")
        self._progress.set("redis", "ready", "embedded" if self._own_redis else "external, from REDIS_URL")

    async def _start_cluster(self) -> None:
        command = [sys.executable, "-m", "deploy.cluster"]
        log = self._state.log("cluster")
        self._cluster = await Child.start("Ray cluster", command, env=self._environment, log=log, talks=True)
        config = ClusterConfig(profile=self._profile, redis_url=self._redis_url, temp_dir=self._run_dir)
        await self._cluster.send(config.model_dump_json(by_alias=True))
        self._spawn(self._follow_cluster(self._cluster))

    async def _follow_cluster(self, cluster: Child) -> None:
        async for line in cluster.lines():
            event = Event.model_validate_json(line)
            title = app_title(event.about) if event.about in self._profile.application_of().values() else event.about
            if not self._stopping:
                self._progress.set(title, event.state, event.detail)
            if event.state == "failed":
                logs = f"log: {cluster.log}, {self._state.ray_logs(self._run_dir)}"
                self._fail(ComponentFailed(f"{title} failed: {event.detail} ({logs})"))
            if event.state == "ready" and event.about == "ray":
                self._environment["RAY_ADDRESS"] = event.detail
                self._ray_ready.set()
            elif event.state == "ready":
                self._apps_left.discard(event.about)
                if not self._apps_left:
                    self._apps_ready.set()
        await cluster.wait()
        self._fail(cluster.death())

    async def _build_model(self) -> None:
        command = [sys.executable, "-m", "deploy.model_builder", str(self._settings.cache_dir)]
        self._progress.set(PLANNER_MODEL, "loading", "looking for it")
        log = self._state.log("planner-model")
        self._builder = await Child.start(PLANNER_MODEL, command, env=self._environment, log=log, talks=True)
        folder: Path | None = None
        async for line in self._builder.lines():
            event = Event.model_validate_json(line)
            folder = Path(event.detail) if event.state == "ready" else None
            self._progress.set(PLANNER_MODEL, event.state, event.detail)
        if await self._builder.wait() != 0 or folder is None:
            self._progress.set(PLANNER_MODEL, "failed")
            self._fail(self._builder.death())
            return
        await self._ray_ready.wait()
        assert self._cluster is not None
        await self._cluster.send(Command(do="deploy_planner", model=folder).model_dump_json())

    async def _stop(self) -> None:
        """Gateway, Serve and Ray, Redis; then whatever still carries this run's mark."""
        self._stopping = True
        self._progress.end_table()
        if self._failure is not None:
            self._progress.text(f"{self._failure}")
            for line in self._failure.log_tail:
                self._progress.text(f"  | {line}")
        self._progress.text("Stopping (Ctrl-C again to hurry) ...")
        with contextlib.suppress(FileNotFoundError):
            self._state.update(phase="stopping")
        grace_s = self._settings.stop_grace_s
        await self._gateway.stop(self._settings.gateway_grace_s + 1.0, self._hasten)
        if self._builder is not None:
            await self._builder.stop(1.0)
        if self._cluster is not None:
            await self._cluster.send(Command(do="stop").model_dump_json())
            # Before Ray has started it does not listen yet.
            await self._cluster.stop(grace_s, self._hasten, ask=not self._ray_ready.is_set())
        if self._redis is not None:
            # Not hastened: it is saving sessions.
            await self._redis.stop(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await end_run(self._run_id, grace_s=self._settings.kill_grace_s, without=[os.getpid()])
        self._state.forget()
        self._progress.text("Stopped; no process is left.")

    def _must_live(self, child: Child) -> None:
        async def watch() -> None:
            await child.wait()
            self._fail(child.death())

        self._spawn(watch())

    def _spawn(self, work: object) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        error: BaseException | None = task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._fail(error if isinstance(error, ComponentFailed) else ComponentFailed(f"{type(error).__name__}: {error}"))

    def _fail(self, failure: ComponentFailed) -> None:
        if not self._stopping and self._failure is None:
            self._failure = failure
            self._failed.set()

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._hasten.set()
        self._stop_asked.set()

    @staticmethod
    async def _first_of(*events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def app_title(name: str) -> str:
    """How an application of skills is called in front of people."""
    return f"app {name}"


def things_to_try(address: str, profile: Profile) -> str:
    """Three things to do with a running platform, and how to stop it."""
    skills = sorted(profile.application_of())
    skill = "easyocr" if "easyocr" in skills or not skills else skills[0]
    json_type = "-H 'Content-Type: application/json'"
    chat = f"""Chat from a terminal:
     curl {address}/v1/chat/completions {json_type} \\
       -d '{{"messages": [{{"role": "user", "content": "What can you do?"}}]}}'"""
    listing = f"""List the tools:
     curl {address}/v1/tools"""
    return f"""Three things to try:
  1. Open {address} in a browser{" and chat about a picture" if profile.planner else ""}.
  2. {chat if profile.planner else listing}
  3. Call one tool:
     printf '{{"image": "data:image/jpeg;base64,%s"}}' "$(base64 -w0 photo.jpg)" |
       curl {address}/v1/tools/{skill} {json_type} -d @-

Stop with Ctrl-C here, or `{typed("down")}` anywhere."""
