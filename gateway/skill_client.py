"""Skills over Ray Serve handles: argument check, deadline, one retry, errors in our terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from gateway.ports import CallContext, SkillOutcome
from services.core.errors import BadArguments, SkillError, UnknownSkill
from services.core.handles import AppHandle, AppStatus
from services.core.spec import SkillSpec, Symbol
from services.core.wire import SkillReply, SkillRequest


class ServeSkillClient:
    """Implements `gateway.ports.SkillClient`.

    Args:
        applications: for each offered skill, its spec and the Serve application that hosts it.
        status: which applications run.
    """

    def __init__(self, applications: Sequence[tuple[SkillSpec, str]], status: AppStatus) -> None:
        self._specs = sorted((spec for spec, _ in applications), key=lambda spec: spec.name)
        self._by_name = {name: spec for spec in self._specs for name in spec.names}
        handles = {app: AppHandle(app) for _, app in applications}
        self._handles = {spec.name: handles[app] for spec, app in applications}
        self._status = status

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
        return SkillOutcome(
            skill=spec.name,
            result=reply.result or {},
            checkpoint=reply.checkpoint,
            compute_ms=reply.compute_ms,
            wait_ms=reply.wait_ms,
            batch_size=reply.batch_size,
        )

    async def ready(self) -> Mapping[str, bool]:
        running = await self._status.ready()
        return {name: handle.app in running for name, handle in self._handles.items()}
