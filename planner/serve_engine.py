"""The engine as a Ray Serve application, seen from the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from planner.api import PlannerUnavailable
from planner.wire import EngineChunk, EngineRequest
from services.core.context import CallContext
from services.core.errors import SkillUnavailable
from services.core.handles import AppHandle, AppStatus, ReplicaDied


class ServeEngine:
    """Implements `planner.client.Engine` over `planner.engine.PlannerServer`."""

    def __init__(self, app: str, status: AppStatus) -> None:
        self._handle = AppHandle(app)
        self._status = status

    async def generate(self, request: EngineRequest, context: CallContext) -> AsyncGenerator[EngineChunk, None]:
        """See `planner.client.Engine.generate`. A replica that dies before its first word is given one more try."""
        begun = False
        for again in (True, False):
            try:
                async with aclosing(self._handle.stream("generate", request.to_wire(), context.deadline)) as stream:
                    async for wire in stream:
                        begun = True
                        yield EngineChunk.from_wire(wire)
                return
            except SkillUnavailable as error:
                if begun or not again or not isinstance(error, ReplicaDied):
                    raise PlannerUnavailable(error.message, error.retry_after_s) from None

    async def adapters(self, request: dict[str, Any], context: CallContext) -> dict[str, Any]:
        """An administrator's request; see `planner.engine.PlannerServer.adapters`.

        Raises:
            PlannerUnavailable: no replica answers.
        """
        try:
            answer: dict[str, Any] = await self._handle.call("adapters", request, context.deadline)
        except SkillUnavailable as error:
            raise PlannerUnavailable(error.message, error.retry_after_s) from None
        return answer

    async def ready(self) -> bool:
        return self._handle.app in await self._status.ready()
