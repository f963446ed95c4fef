"""One skill in one process: its own thread, its own batches, loaded at once or at its first call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from services.core.batching import Batcher
from services.core.errors import DeadlineExceeded, SkillError, SkillFailed, SkillUnavailable
from services.core.skill import Skill, SkillCall
from services.core.types import SkillResult

RELOAD_AFTER_S = 30.0


@dataclass(slots=True)
class _Pending:
    """A call that waits for its batch."""

    call: SkillCall[Any]
    deadline: float
    queued: float


@dataclass(frozen=True, slots=True)
class Served:
    """How a call was answered: in a batch of `batch_size` after `wait_ms`, by `compute_ms` of work."""

    answer: SkillResult | SkillError
    wait_ms: float
    compute_ms: float
    batch_size: int


class Lane:
    """Runs the calls of one skill.

    Args:
        skill: configured, not yet set up.
        max_batch_size: most calls in one batch.
        batch_wait_timeout_s: how long a batch waits to fill, seconds.
    """

    def __init__(self, skill: Skill[Any, Any], max_batch_size: int = 4, batch_wait_timeout_s: float = 0.0) -> None:
        self.skill = skill
        self.name = skill.name
        self.checkpoint = skill.checkpoint or skill.default_checkpoint
        self._loaded = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.name)
        self._log = structlog.get_logger().bind(skill=self.name)
        self._batcher = Batcher[_Pending, Served](self._run, max_batch_size, batch_wait_timeout_s)

    def load(self) -> None:
        """Set the skill up, once. Blocking; raises what `setup` raises."""
        if self._loaded:
            return
        started = time.perf_counter()
        self.skill.setup()
        self._loaded = True
        self._log.info("skill_loaded", elapsed_ms=round((time.perf_counter() - started) * 1e3))

    async def warm(self) -> None:
        """Set the skill up ahead of its first call, in its own thread. What goes wrong is that call's to tell."""
        if not self._loaded:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, [])

    async def submit(self, call: SkillCall[Any], deadline: float) -> Served:
        """Answer one call in the next batch. What goes wrong is an answer too.

        Args:
            deadline: absolute time, seconds since the epoch; a call that still waits then is not run.
        """
        return await self._batcher.submit(_Pending(call, deadline, time.perf_counter()))

    def close(self) -> None:
        """Let the thread end when it has answered."""
        self._thread.shutdown(wait=False)

    async def _run(self, batch: list[_Pending]) -> list[Served]:
        started = time.perf_counter()
        live = [pending for pending in batch if pending.deadline > time.time()]
        answers: dict[int, SkillResult | SkillError] = {}
        if live:
            loop = asyncio.get_running_loop()
            computed = await loop.run_in_executor(self._thread, self._answer, [pending.call for pending in live])
            answers = {id(pending): answer for pending, answer in zip(live, computed, strict=True)}
        compute_ms = (time.perf_counter() - started) * 1e3
        return [
            Served(
                answer=answers.get(id(pending)) or DeadlineExceeded("The call waited past its deadline."),
                wait_ms=(started - pending.queued) * 1e3,
                compute_ms=compute_ms,
                batch_size=len(live),
            )
            for pending in batch
        ]

    def _answer(self, calls: Sequence[SkillCall[Any]]) -> Sequence[SkillResult | SkillError]:
        try:
            self.load()
        except Exception:  # noqa: BLE001 - the process's edge towards skill code
            self._log.exception("skill_not_loaded")
            away = SkillUnavailable(f"{self.name} cannot be loaded now. Try again.", retry_after_s=RELOAD_AFTER_S)
            return [away] * len(calls)
        return self._predict(calls) if calls else []

    def _predict(self, calls: Sequence[SkillCall[Any]]) -> Sequence[SkillResult | SkillError]:
        try:
            answers: Sequence[SkillResult | SkillError] = self.skill.predict(calls)
        except SkillError as error:
            if len(calls) == 1:
                return [error]
        except Exception:  # noqa: BLE001 - the process's edge towards skill code
            self._log.exception("skill_failed", batch_size=len(calls))
            if len(calls) == 1:
                return [failed(self.name)]
        else:
            if len(answers) == len(calls):
                return answers
            self._log.error("skill_answered_wrong_count", expected=len(calls), got=len(answers))
            return [failed(self.name)] * len(calls)
        # One bad call must not take its neighbours along.
        return [answer for call in calls for answer in self._predict([call])]


def failed(skill: str) -> SkillFailed:
    """What a caller is told about an exception in a skill's code; the log has the rest."""
    return SkillFailed(f"The skill {skill} failed on this input.")
