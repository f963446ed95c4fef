"""The only Ray Serve deployment class: hosts one or more skills, and owns all that they share.

Batching, pictures by handle, deadlines, metrics, logs and errors are here; a skill's file has none
of it. The class is plain Python: `deploy.build` wraps it with `serve.deployment`, so that tests can
drive it in one process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.batching import Batcher
from services.core.errors import BadArguments, DeadlineExceeded, SkillError, SkillFailed, SkillUnavailable, UnknownSkill
from services.core.images import ImageReader
from services.core.loading import load_skill
from services.core.metrics import SkillMetrics
from services.core.skill import Skill, SkillCall
from services.core.spec import SkillSpec, Symbol
from services.core.types import SkillResult
from services.core.wire import SkillReply, SkillRequest


class SkillConfig(BaseModel):
    """How one skill is loaded and batched."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    skill_class: str | None = Field(
        None, alias="class", description="`module:Class` of a skill that no registry lists."
    )
    checkpoint: str | None = Field(None, description="Hub id, folder or file; the skill's own default when absent.")
    device: str = Field("cpu", description="torch device, for example cpu or cuda:0.")
    options: dict[str, Any] = Field(default_factory=dict, description="The skill's own settings.")
    max_batch_size: int = Field(4, ge=1, description="Most calls in one batch.")
    batch_wait_timeout_s: float = Field(0.0, ge=0.0, description="How long a batch waits to fill, seconds.")


@dataclass(slots=True)
class _Pending:
    """A call that waits for its batch."""

    call: SkillCall[Any]
    request: SkillRequest
    queued: float


@dataclass(frozen=True, slots=True)
class _Served:
    """How a batch answered one call."""

    answer: SkillResult | SkillError
    wait_ms: float
    compute_ms: float
    batch_size: int


class _Lane:
    """One skill in this replica: its own thread, its own batches."""

    def __init__(self, skill: Skill[Any, Any], config: SkillConfig) -> None:
        self.skill = skill
        self.spec = skill.spec()
        self.checkpoint = config.checkpoint or skill.default_checkpoint
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.spec.name)
        self._log = structlog.get_logger().bind(skill=self.spec.name)
        self.batcher = Batcher[_Pending, _Served](self._run, config.max_batch_size, config.batch_wait_timeout_s)

    async def _run(self, batch: list[_Pending]) -> list[_Served]:
        started = time.perf_counter()
        live = [pending for pending in batch if pending.request.deadline > time.time()]
        answers: dict[int, SkillResult | SkillError] = {}
        if live:
            loop = asyncio.get_running_loop()
            computed = await loop.run_in_executor(self._thread, self._predict, [pending.call for pending in live])
            answers = {id(pending): answer for pending, answer in zip(live, computed, strict=True)}
        compute_ms = (time.perf_counter() - started) * 1e3
        return [
            _Served(
                answer=answers.get(id(pending)) or DeadlineExceeded("The call waited past its deadline."),
                wait_ms=(started - pending.queued) * 1e3,
                compute_ms=compute_ms,
                batch_size=len(live),
            )
            for pending in batch
        ]

    def _predict(self, calls: Sequence[SkillCall[Any]]) -> Sequence[SkillResult | SkillError]:
        try:
            answers = self.skill.predict(calls)
        except SkillError as error:
            if len(calls) == 1:
                return [error]
        except Exception:  # noqa: BLE001 - the process's edge towards skill code
            self._log.exception("skill_failed", batch_size=len(calls))
            if len(calls) == 1:
                return [SkillFailed(f"The skill {self.spec.name} failed on this input.")]
        else:
            if len(answers) == len(calls):
                return answers
            self._log.error("skill_answered_wrong_count", expected=len(calls), got=len(answers))
            return [SkillFailed(f"The skill {self.spec.name} failed on this input.")] * len(calls)
        # One bad call must not take its neighbours along.
        return [answer for call in calls for answer in self._predict([call])]


class SkillServer:
    """Answers `SkillRequest`s for the skills it hosts.

    Args:
        skills: name to `SkillConfig` (as plain data).
        redis_url: where the pictures are.
        image_cache_bytes_max: bound of the decoded-picture cache, bytes of pixels.
    """

    def __init__(self, skills: Mapping[str, Mapping[str, Any]], redis_url: str, image_cache_bytes_max: int) -> None:
        import redis.asyncio

        self._log = structlog.get_logger()
        self._metrics = SkillMetrics()
        self._redis = redis.asyncio.Redis.from_url(redis_url)
        self._images = ImageReader(self._redis, image_cache_bytes_max)
        self._lanes: dict[str, _Lane] = {}
        for name, raw in skills.items():
            config = SkillConfig.model_validate(raw)
            started = time.perf_counter()
            skill = load_skill(name, config.skill_class)(config.checkpoint, config.device, **config.options)
            skill.setup()
            self._lanes[name] = _Lane(skill, config)
            self._log.info("skill_loaded", skill=name, elapsed_ms=round((time.perf_counter() - started) * 1e3))

    async def call(self, wire: dict[str, Any]) -> dict[str, Any]:
        """Run one call. Errors come back as data (`SkillReply.error`), never as exceptions."""
        request = SkillRequest.from_wire(wire)
        started = time.perf_counter()
        try:
            lane = self._lane(request.skill)
            served = await self._serve(lane, request)
            if isinstance(served.answer, SkillError):
                raise served.answer
            reply = SkillReply(
                result=served.answer.model_dump(mode="json"),
                checkpoint=lane.checkpoint,
                wait_ms=served.wait_ms,
                compute_ms=served.compute_ms,
                batch_size=served.batch_size,
            )
        except SkillError as error:
            reply = SkillReply(error=error.to_wire())
        except Exception:  # noqa: BLE001 - the process's edge: what is left is the infrastructure, such as Redis
            self._log.exception("skill_call_broke", skill=request.skill, request_id=request.request_id)
            unavailable = SkillUnavailable(f"{request.skill} cannot answer now. Try again.", retry_after_s=2.0)
            reply = SkillReply(error=unavailable.to_wire())
        elapsed_s = time.perf_counter() - started
        status = reply.error["kind"] if reply.error else "ok"
        self._metrics.observe(request.skill, status, elapsed_s, reply.compute_ms / 1e3, reply.batch_size)
        self._log.info(
            "skill_call",
            skill=request.skill,
            request_id=request.request_id,
            status=status,
            elapsed_ms=round(elapsed_s * 1e3, 2),
            compute_ms=round(reply.compute_ms, 2),
            wait_ms=round(reply.wait_ms, 2),
            batch_size=reply.batch_size,
        )
        return reply.to_wire()

    async def close(self) -> None:
        """Free the connection to Redis; a replica that ends frees it anyway."""
        await self._redis.aclose()

    def _lane(self, name: str) -> _Lane:
        try:
            return self._lanes[name]
        except KeyError:
            raise UnknownSkill(f"This replica does not host {name!r}.") from None

    async def _serve(self, lane: _Lane, request: SkillRequest) -> _Served:
        remaining_s = request.deadline - time.time()
        if remaining_s <= 0:
            raise DeadlineExceeded("The call arrived after its deadline.")
        try:
            async with asyncio.timeout(remaining_s):
                call = SkillCall(args=_validated(lane.spec, request.args), images=await self._read(request.images))
                return await lane.batcher.submit(_Pending(call, request, time.perf_counter()))
        except TimeoutError:
            raise DeadlineExceeded(f"{lane.spec.name} did not answer within the call's deadline.") from None

    async def _read(self, handles: Mapping[str, str]) -> dict[Symbol, Image.Image]:
        pictures = await asyncio.gather(*(self._images.read(handle) for handle in handles.values()))
        return {Symbol(symbol): picture for symbol, picture in zip(handles, pictures, strict=True)}


def _validated(spec: SkillSpec, args: Mapping[str, Any]) -> Any:
    try:
        return spec.args_model.model_validate(args)
    except ValidationError as error:
        raise BadArguments.from_validation(spec.name, error) from None
