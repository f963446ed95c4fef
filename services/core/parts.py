"""How a composite's calls reach its parts on the platform: as requests like any other."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable

from PIL import Image

from services.core.composite import PartArgsT, PartResultT, Pictures
from services.core.errors import SkillError
from services.core.skill import BaseSkill
from services.core.wire import SkillReply, SkillRequest


class CallParts:
    """Implements `PartRunner` for one call, whose request id, deadline and picture handles go along.

    Args:
        request: the composite's own.
        send: brings a request to whoever hosts the part.

    Attributes:
        checkpoints: the weights that answered so far, each once.
    """

    def __init__(self, request: SkillRequest, send: Callable[[SkillRequest], Awaitable[SkillReply]]) -> None:
        self._request = request
        self._send = send
        self._checkpoints: dict[str, None] = {}

    @property
    def checkpoints(self) -> tuple[str, ...]:
        return tuple(self._checkpoints)

    async def run(
        self, part: type[BaseSkill[PartArgsT, PartResultT]], args: PartArgsT, images: Pictures
    ) -> PartResultT:
        request = SkillRequest(
            skill=part.name,
            args=args.model_dump(mode="json"),
            images={symbol.value: handle for symbol, handle in images.items()},
            request_id=self._request.request_id,
            deadline=self._request.deadline,
        )
        reply = await self._send(request)
        if reply.error is not None:
            raise SkillError.from_wire(reply.error)
        self._checkpoints[reply.checkpoint] = None
        pictures = {name: Image.open(io.BytesIO(data)) for name, data in reply.pictures.items()}
        return part.Result.model_validate({**(reply.result or {}), **pictures})  # type: ignore[return-value]
