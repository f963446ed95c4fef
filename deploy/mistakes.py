"""Turns with mistakes made on purpose: the orchestrator in this process, the skills of a running platform."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from gateway.masks import mask_png
from gateway.orchestrator.events import TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.ports import Planner, SkillOutcome, StoredImage
from gateway.settings import GatewaySettings
from gateway.state.models import ImageInfo, Marks, Session
from planner.api import PlannerUnavailable, PromptTooLong
from planner.eval.gateway import TURN_S, CannotAnswer, GatewayClient, PlatformGone, Reply
from planner.eval.mistakes import FailingSkills, MistakenPlanner
from services.core.context import CallContext
from services.core.errors import ImageNotFound, UnknownSkill
from services.core.registry import discover
from services.core.spec import SkillSpec, Symbol
from services.core.types import ImageSize, MaskRLE

_OWNER = "evaluation"


class RemoteSkills:
    """Implements `gateway.ports.SkillClient` with the tools of a running platform.

    Args:
        offered: names of its skills.
    """

    def __init__(self, client: GatewayClient, offered: Sequence[str]) -> None:
        registry = discover()
        self._client = client
        self._specs = sorted((registry.spec(name) for name in offered), key=lambda spec: spec.name)

    def specs(self) -> Sequence[SkillSpec]:
        return self._specs

    def resolve(self, name: str) -> SkillSpec:
        for spec in self._specs:
            if name in spec.names:
                return spec
        known = ", ".join(spec.name for spec in self._specs)
        raise UnknownSkill(f"No tool is called {name!r}. Known tools: {known}.")

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        """See `gateway.ports.SkillClient.call`."""
        spec = self.resolve(skill)
        given = {str(symbol): handle for symbol, handle in images.items()}
        said = await self._client.call_tool(spec.name, given, args)
        pictures = {name: said["result"][name] for name, symbol in spec.produces.items() if symbol is not Symbol.MASK}
        timing = said.get("timing", {})
        return SkillOutcome(
            skill=spec.name,
            result=said["result"],
            checkpoint=said.get("checkpoint", ""),
            compute_ms=timing.get("compute_ms", 0.0),
            wait_ms=timing.get("wait_ms", 0.0),
            pictures=pictures,
        )

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {spec.name: True for spec in self._specs}


class RemoteImages:
    """Implements `gateway.ports.ImageStore` with the pictures of a running platform."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    async def put(self, data: bytes, *, owner: str, lineage: Mapping[str, Any] | None = None) -> ImageInfo:
        return self._info(await self._client.upload(data))

    async def get(self, image_id: str, *, owner: str) -> StoredImage:
        return StoredImage(self._info(image_id), await self._client.picture(image_id))

    async def info(self, image_id: str, *, owner: str) -> ImageInfo:
        return self._info(image_id)

    def _info(self, handle: str) -> ImageInfo:
        now = time.time()
        return ImageInfo(
            id=handle,
            owner=_OWNER,
            size=ImageSize(width=1, height=1),
            media_type="image/png",
            bytes=0,
            created=now,
            expires=now + 3600,
        )


class LocalTurns:
    """Implements `planner.eval.world.run.Platform`: turns run here, everything else on the platform."""

    def __init__(
        self,
        client: GatewayClient,
        planner: Planner,
        skills: RemoteSkills | FailingSkills,
        settings: GatewaySettings | None = None,
    ) -> None:
        self._client = client
        self._settings = settings or GatewaySettings()
        self._images = RemoteImages(client)
        self._orchestrator = Orchestrator(planner, skills, self._images, self._settings)
        self._strikers = [one for one in (planner, skills) if isinstance(one, MistakenPlanner | FailingSkills)]
        self._sessions: dict[str, Session] = {}

    async def upload(self, data: bytes, name: str = "picture.png") -> str:
        return await self._client.upload(data, name)

    async def picture(self, handle: str) -> bytes:
        return await self._client.picture(handle)

    async def tool(self, name: str, image: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.tool(name, image, arguments)

    async def chat(
        self,
        text: str,
        parts: Sequence[Mapping[str, Any]] = (),
        *,
        session: str | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
        mode: str | None = None,
    ) -> Reply:
        """See `planner.eval.gateway.GatewayClient.chat`; `earlier` is not used: turns have sessions.

        A turn may take as long as it needs: a planner in this process may be slower than in service.
        """
        known = self._sessions.get(session or "") or Session(id=uuid4().hex, owner=_OWNER, created=time.time())
        request = await self._request(text, parts, mode)
        deadline, lost = time.time() + TURN_S, self._client.lost
        context = CallContext(request_id=uuid4().hex, owner=_OWNER, deadline=deadline)
        finished: TurnFinished | None = None
        try:
            async for event in self._orchestrator.run(request, known, context):
                finished = event if isinstance(event, TurnFinished) else finished
        except (PromptTooLong, ImageNotFound) as error:
            return Reply(session=known.id, error=str(error), struck=self._struck(context))
        except PlannerUnavailable as error:
            raise CannotAnswer(str(error)) from error
        if self._client.lost > lost:
            # The planner was told that a skill failed; that is another mistake than the one made on purpose.
            raise PlatformGone(f"{self._client.url} could not be reached in the middle of a turn.")
        assert finished is not None, "a turn ends with TurnFinished"
        self._sessions[known.id] = finished.session
        steps = [step.model_dump(mode="json") for step in finished.steps]
        return Reply(finished.answer, known.id, steps, finished.produced, struck=self._struck(context))

    def _struck(self, context: CallContext) -> bool:
        return any(context.request_id in one.struck for one in self._strikers)

    async def _request(self, text: str, parts: Sequence[Mapping[str, Any]], mode: str | None) -> TurnRequest:
        images: list[str] = []
        marks: dict[str, Any] = {}
        symbols: dict[Symbol, str] = {}
        for part in parts:
            if part["type"] == "image_url":
                images.append(part["image_url"]["url"])
            elif part["type"] == "points":
                labels = part.get("labels") or [1] * len(part["points"])
                marks |= {"points": part["points"], "point_labels": labels}
            elif part["type"] == "boxes":
                marks["boxes"] = part["boxes"]
            elif part["type"] == "reference":
                symbols[Symbol.REFERENCE_IMAGE] = part["image"]
                mask = mask_png(MaskRLE.model_validate(part["mask"]))
                symbols[Symbol.REFERENCE_MASK] = await self._client.upload(mask, "mask.png")
        return TurnRequest(
            text=text,
            images=tuple(images),
            marks=Marks.model_validate(marks),
            symbols=symbols,
            mode="all_tools" if mode == "all_tools" else "fly",
        )
