"""The only Ray Serve deployment class: hosts one or more skills, and owns all that they share.

Pictures by handle, deadlines, metrics, logs and errors are here, batching in `services.core.lane`; a skill's file has
none of it. The class is plain Python: `deploy.build` wraps it with `serve.deployment`, so that tests can drive it in
one process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.composite import Composite
from services.core.errors import BadArguments, DeadlineExceeded, SkillError, SkillUnavailable, UnknownSkill
from services.core.handles import AppHandle
from services.core.images import ImageReader, encode
from services.core.lane import Lane, Served, failed
from services.core.loading import load_skill
from services.core.metrics import SkillMetrics
from services.core.parts import CallParts
from services.core.progress import told
from services.core.skill import BaseSkill, Skill, SkillCall
from services.core.spec import SkillSpec, Symbol
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
    load: Literal["eager", "first_call"] = Field(
        "eager",
        description="eager: a replica is ready when the skill is loaded; first_call: it starts sooner and needs less "
        "memory until then, and the first caller waits.",
    )
    max_batch_size: int = Field(4, ge=1, description="Most calls in one batch.")
    batch_wait_timeout_s: float = Field(0.0, ge=0.0, description="How long a batch waits to fill, seconds.")


class SkillServer:
    """Answers `SkillRequest`s for the skills it hosts.

    Args:
        skills: name to `SkillConfig` (as plain data).
        redis_url: where the pictures are.
        image_cache_bytes_max: bound of the decoded-picture cache, bytes of pixels.
        parts: for parts of hosted composites that are not hosted here, the Serve application that does.
    """

    def __init__(
        self,
        skills: Mapping[str, Mapping[str, Any]],
        redis_url: str,
        image_cache_bytes_max: int,
        parts: Mapping[str, str] | None = None,
    ) -> None:
        import redis.asyncio

        self._log = structlog.get_logger()
        self._metrics = SkillMetrics()
        self._redis = redis.asyncio.Redis.from_url(redis_url)
        self._images = ImageReader(self._redis, image_cache_bytes_max)
        self._elsewhere = {skill: AppHandle(app) for skill, app in (parts or {}).items()}
        self._lanes: dict[str, Lane] = {}
        self._composites: dict[str, Composite[Any, Any]] = {}
        self._specs: dict[str, SkillSpec] = {}
        for name, config in skills.items():
            self._host(name, SkillConfig.model_validate(config))

    def _host(self, name: str, config: SkillConfig) -> None:
        skill_class: type[BaseSkill[Any, Any]] = load_skill(name, config.skill_class)
        self._specs[name] = skill_class.spec()
        if issubclass(skill_class, Composite):
            self._composites[name] = skill_class()
            return
        assert issubclass(skill_class, Skill)
        skill = skill_class(config.checkpoint, config.device, **config.options)
        self._lanes[name] = lane = Lane(skill, config.max_batch_size, config.batch_wait_timeout_s)
        if config.load == "eager":
            lane.load()

    async def call(self, wire: dict[str, Any]) -> dict[str, Any]:
        """Run one call. Errors come back as data (`SkillReply.error`), never as exceptions."""
        return (await self._reply(SkillRequest.from_wire(wire))).to_wire()

    async def warm(self, skill: str) -> None:
        """Load a skill that waits for its first call; returns at once where it is loaded, or not hosted here."""
        lane = self._lanes.get(skill)
        if lane is not None:
            await lane.warm()

    async def close(self) -> None:
        """Free the connection to Redis; a replica that ends frees it anyway."""
        await self._redis.aclose()

    async def _reply(self, request: SkillRequest) -> SkillReply:
        started = time.perf_counter()
        try:
            reply = await self._answered(request)
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
        return reply

    async def _answered(self, request: SkillRequest) -> SkillReply:
        spec = self._specs.get(request.skill)
        if spec is None:
            raise UnknownSkill(f"This replica does not host {request.skill!r}.")
        remaining_s = request.deadline - time.time()
        if remaining_s <= 0:
            raise DeadlineExceeded("The call arrived after its deadline.")
        args = _validated(spec, request.args)
        try:
            async with asyncio.timeout(remaining_s):
                if request.skill in self._composites:
                    return await self._composed(self._composites[request.skill], args, request)
                lane = self._lanes[request.skill]
                images = await self._read(request.images)
                async with told(self._redis, request.skill, request.request_id) as report:
                    served = await lane.submit(SkillCall(args, images, report), request.deadline)
                return await _reply(served, lane.checkpoint)
        except TimeoutError:
            raise DeadlineExceeded(f"{request.skill} did not answer within the call's deadline.") from None

    async def _composed(self, composite: Composite[Any, Any], args: Any, request: SkillRequest) -> SkillReply:
        started = time.perf_counter()
        parts = CallParts(request, self._part_reply)
        try:
            answer = await composite.compose(args, {Symbol(name): ref for name, ref in request.images.items()}, parts)
        except SkillError as error:
            answer = error
        except Exception:  # noqa: BLE001 - the process's edge towards skill code
            self._log.exception("skill_failed", skill=request.skill, request_id=request.request_id)
            answer = failed(request.skill)
        compute_ms = (time.perf_counter() - started) * 1e3
        return await _reply(Served(answer, 0.0, compute_ms, 1), " + ".join(parts.checkpoints))

    async def _part_reply(self, request: SkillRequest) -> SkillReply:
        """A part's answer, from here if it is hosted here."""
        if request.skill in self._specs:
            return await self._reply(request)
        handle = self._elsewhere.get(request.skill)
        if handle is None:
            raise UnknownSkill(f"This replica does not know who hosts {request.skill!r}.")
        return SkillReply.from_wire(await handle.call("call", request.to_wire(), request.deadline))

    async def _read(self, handles: Mapping[str, str]) -> dict[Symbol, Image.Image]:
        pictures = await asyncio.gather(*(self._images.read(handle) for handle in handles.values()))
        return {Symbol(symbol): picture for symbol, picture in zip(handles, pictures, strict=True)}


async def _reply(served: Served, checkpoint: str) -> SkillReply:
    """A lane's answer as it travels; raises it where it is an error."""
    answer = served.answer
    if isinstance(answer, SkillError):
        raise answer
    pictures = {name: value for name, value in answer if isinstance(value, Image.Image)}
    return SkillReply(
        result=answer.model_dump(mode="json", exclude=set(pictures)),
        pictures={name: await asyncio.to_thread(encode, picture) for name, picture in pictures.items()},
        checkpoint=checkpoint,
        wait_ms=served.wait_ms,
        compute_ms=served.compute_ms,
        batch_size=served.batch_size,
    )


def _validated(spec: SkillSpec, args: Mapping[str, Any]) -> Any:
    try:
        return spec.args_model.model_validate(args)
    except ValidationError as error:
        raise BadArguments.from_validation(spec.name, error) from None
