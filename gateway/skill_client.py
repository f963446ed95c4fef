"""Skills over Ray Serve handles: argument check, deadline, one retry, produced pictures stored, errors in our terms."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from gateway.errors import BadImage
from gateway.ports import CallContext, ImageStore, SkillOutcome
from services.core.errors import BadArguments, SkillError, SkillFailed, UnknownSkill
from services.core.handles import AppHandle, AppStatus
from services.core.spec import SkillSpec, Symbol
from services.core.wire import SkillReply, SkillRequest

WARM_S = 60.0
"""A skill that was warmed is taken to be warm for this long."""
WARM_DEADLINE_S = 120.0


class ServeSkillClient:
    """Implements `gateway.ports.SkillClient`.

    Args:
        applications: for each offered skill, its spec and the Serve application that hosts it.
        status: which applications run.
        images: where pictures that skills produce are stored.
    """

    def __init__(self, applications: Sequence[tuple[SkillSpec, str]], status: AppStatus, images: ImageStore) -> None:
        self._specs = sorted((spec for spec, _ in applications), key=lambda spec: spec.name)
        self._by_name = {name: spec for spec in self._specs for name in spec.names}
        handles = {app: AppHandle(app) for _, app in applications}
        self._handles = {spec.name: handles[app] for spec, app in applications}
        self._status = status
        self._warmed: dict[str, float] = {}
        self._images = images

    def specs(self) -> Sequence[SkillSpec]:
        return self._specs

    def resolve(self, name: str) -> SkillSpec:
        spec = self._by_name.get(name)
        if spec is None:
            known = ", ".join(spec.name for spec in self._specs) or "none"
            raise UnknownSkill(f"No tool is called {name!r}. Known tools: {known}.")
        return spec

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        spec = self.resolve(skill)
        try:
            validated = spec.args_model.model_validate(args)
        except ValidationError as error:
            raise BadArguments.from_validation(spec.name, error) from None
        request = SkillRequest(
            skill=spec.name,
            args=validated.model_dump(mode="json"),
            images={symbol.value: handle for symbol, handle in images.items()},
            request_id=context.request_id,
            deadline=context.deadline,
        )
        wire = await self._handles[spec.name].call("call", request.to_wire(), context.deadline)
        reply = SkillReply.from_wire(wire)
        if reply.error is not None:
            raise SkillError.from_wire(reply.error)
        pictures = await self._stored(request, reply, context)
        return SkillOutcome(
            skill=spec.name,
            result={**(reply.result or {}), **pictures},
            checkpoint=reply.checkpoint,
            compute_ms=reply.compute_ms,
            wait_ms=reply.wait_ms,
            batch_size=reply.batch_size,
            pictures=pictures,
        )

    async def _stored(self, request: SkillRequest, reply: SkillReply, context: CallContext) -> dict[str, str]:
        """Handles of the produced pictures by result field; their lineage is the call."""
        handles = {}
        call = {"skill": request.skill, "checkpoint": reply.checkpoint, "args": request.args, "images": request.images}
        for field, data in reply.pictures.items():
            try:
                info = await self._images.put(data, owner=context.owner, lineage=call | {"field": field})
            except BadImage as error:
                raise SkillFailed(f"{request.skill} made a picture that cannot be stored: {error.message}") from error
            handles[field] = info.id
        return handles

    async def warm(self, skill: str) -> None:
        """Load the skill and its parts where they are loaded at the first call, and wake applications at zero."""
        spec = self.resolve(skill)
        now = time.monotonic()
        cold = [name for name in (spec.name, *spec.parts) if self._warmed.get(name, -math.inf) < now - WARM_S]
        self._warmed |= dict.fromkeys(cold, now)
        await asyncio.gather(*(self._warm_one(name) for name in cold if name in self._handles))

    async def _warm_one(self, name: str) -> None:
        try:
            await self._handles[name].call("warm", name, time.time() + WARM_DEADLINE_S)
        except SkillError:
            self._warmed.pop(name, None)

    async def ready(self) -> Mapping[str, bool]:
        running = await self._status.ready()
        apps = {name: handle.app for name, handle in self._handles.items()}
        return {spec.name: all(apps.get(name) in running for name in (spec.name, *spec.parts)) for spec in self._specs}
