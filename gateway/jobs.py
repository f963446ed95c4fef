"""Runs the jobs of the queue, a few at a time, beside the requests that this process answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict

import structlog
from pydantic_core import to_json

from gateway.error_handlers import http_error
from gateway.errors import JobLost, JobTooLong, StateUnavailable, to_http
from gateway.ports import JobStore, ProgressSource, RunningJob
from gateway.settings import GatewaySettings
from gateway.state.job_models import Progress

Report = Callable[[Progress], None]
"""Takes how far the work is; what it was told last is what clients see."""
Execute = Callable[[RunningJob, Report], Awaitable[object]]
"""Does a job's work; gives its result as JSON-compatible data."""
_STORE_TRIES = 3


class JobRunner:
    """Takes jobs while it is `running`.

    Args:
        done: told of each job that has ended, with its outcome and how long it ran, seconds.
        progress: asked for the progress of skill calls, where there is somebody to ask.
    """

    def __init__(
        self,
        store: JobStore,
        execute: Execute,
        done: Callable[[str, float], None],
        settings: GatewaySettings,
        progress: ProgressSource | None = None,
    ) -> None:
        self._store = store
        self._execute = execute
        self._done = done
        self._settings = settings
        self._progress = progress
        self._stopping = False
        self._submitted = asyncio.Event()
        self._nudges: dict[str, asyncio.Event] = {}
        self._log = structlog.get_logger("gateway.jobs")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run jobs beside the block; those that still run at its end are stopped, and reported as lost."""
        self._stopping = False
        workers = [asyncio.create_task(self._work()) for _ in range(self._settings.jobs_running_max)]
        try:
            yield
        finally:
            # A cancellation that meets an answer of Redis' client at the same moment can get lost in there.
            self._stopping = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def look(self, job_id: str | None = None) -> None:
        """Look at the queue, or at whether a job was cancelled, at once and not at the next turn."""
        if job_id is None:
            self._submitted.set()
        elif job_id in self._nudges:
            self._nudges[job_id].set()

    async def _work(self) -> None:
        while not self._stopping:
            self._submitted.clear()
            try:
                job = await self._store.take()
            except StateUnavailable:
                self._log.warning("job_queue_away")
                job = None
            if job is not None:
                await self._run(job)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.job_poll_s):
                    await self._submitted.wait()

    async def _run(self, job: RunningJob) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=job.id)
        started, told = time.perf_counter(), _Told()
        work = asyncio.create_task(self._bounded(job, told))
        beats = asyncio.create_task(self._beats(job, told, work))
        outcome = "succeeded"
        try:
            result = to_json(await work, inf_nan_mode="null")
            await self._kept(lambda: job.succeeded(result))
        except asyncio.CancelledError:
            outcome = "cancelled" if job.cancelled else "lost"
            lost = asdict(to_http(JobLost()))
            await self._kept(job.ended if job.cancelled else lambda: job.failed(lost))
            worker = asyncio.current_task()
            if worker is not None and worker.cancelling():
                raise
        except Exception as error:  # noqa: BLE001 - nobody waits for the job: this is where its errors end
            outcome = "failed"
            fields = asdict(http_error(error))
            await self._kept(lambda: job.failed(fields))
        finally:
            for task in (work, beats):
                task.cancel()
            await asyncio.gather(work, beats, return_exceptions=True)
            elapsed_s = time.perf_counter() - started
            self._done(outcome, elapsed_s)
            self._log.info("job", outcome=outcome, elapsed_ms=round(elapsed_s * 1e3))

    async def _bounded(self, job: RunningJob, told: _Told) -> object:
        deadline_s = self._settings.job_deadline_s
        try:
            async with asyncio.timeout(deadline_s) as limit:
                return await self._execute(job, told)
        except TimeoutError:
            if limit.expired():
                raise JobTooLong(deadline_s) from None
            raise

    async def _beats(self, job: RunningJob, told: _Told, work: asyncio.Task[object]) -> None:
        """Keep the job's lease and stop its work when nobody wants it, or somebody else has it."""
        renewed, nudge = time.monotonic(), self._nudges.setdefault(job.id, asyncio.Event())
        try:
            while not work.done():
                nudge.clear()
                try:
                    await job.beat(await self._progress_of(job, told))
                    renewed = time.monotonic()
                except StateUnavailable:
                    job.lost = time.monotonic() - renewed > self._settings.lock_ttl_s
                if job.lost or job.cancelled:
                    work.cancel()
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.job_beat_s):
                        await nudge.wait()
        finally:
            del self._nudges[job.id]

    async def _progress_of(self, job: RunningJob, told: _Told) -> Progress:
        found = await self._progress.progress(job.id) if self._progress is not None else None
        return found or told.last

    async def _kept(self, store: Callable[[], Awaitable[None]]) -> None:
        """Store a job's end; where Redis is away for longer, its lease runs out and it counts as lost."""
        for _ in range(_STORE_TRIES):
            try:
                await store()
                return
            except StateUnavailable:
                self._log.warning("job_end_not_stored")
                await asyncio.sleep(self._settings.job_poll_s)


class _Told:
    """Keeps what work said last about how far it is."""

    def __init__(self) -> None:
        self.last = Progress()

    def __call__(self, progress: Progress) -> None:
        self.last = progress
