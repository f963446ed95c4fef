"""`llava_plus.v1.Platform`: each call is translated, and answered by what answers HTTP too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from gateway.api.answer_text import with_the_rest
from gateway.api.chat_service import KnownAnswer
from gateway.api.checked import checked
from gateway.api.grpc import messages
from gateway.api.grpc.calls import Call, Context, answering
from gateway.api.grpc.pictures import reference, shown
from gateway.api.question import Question, ask
from gateway.api.tool_calls import call_tool
from gateway.api.tool_models import request_model
from gateway.api.tool_render import stored_overlay
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import AnswerDelta, TurnFinished
from gateway.parts import ANONYMOUS, GatewayParts
from llava_plus.v1 import platform_pb2 as pb
from llava_plus.v1.platform_pb2_grpc import PlatformServicer

CHUNK_BYTES = 64 * 1024
"""Size of the pieces that pictures are sent in."""


class PlatformService(PlatformServicer):  # type: ignore[misc]  # generated, without types
    """The calls in the order of the `.proto`, which says what they do."""

    def __init__(self, parts: GatewayParts, metrics: GatewayMetrics) -> None:
        self._parts = parts
        self._metrics = metrics
        self._models = {spec.name: request_model(spec) for spec in parts.skills.specs()}

    async def Chat(self, request: pb.ChatRequest, context: Context) -> None:
        async with answering(context, "Chat", self._metrics, self._parts.settings.turn_deadline_s) as call:
            question = await self._question(request)
            key = request.idempotency_key or None
            opened = await ask(question, self._parts, self._metrics, call.context, key)
            if isinstance(opened, KnownAnswer):
                await context.write(messages.finished(opened.completion, replayed=True))
                return
            # Written one by one and not yielded, so that a cancelled call has closed the turn when it ends.
            async with aclosing(with_the_rest(opened.events)) as events:
                async for event in events:
                    if isinstance(event, AnswerDelta):
                        await context.write(messages.delta(event))
                    elif isinstance(event, TurnFinished):
                        await context.write(messages.finished(opened.turn.completed(event), replayed=False))
                    elif request.debug and (message := messages.step(event)) is not None:
                        await context.write(message)

    async def CallTool(self, request: pb.CallToolRequest, context: Context) -> pb.CallToolResponse:
        async with answering(context, "CallTool", self._metrics, self._parts.settings.tool_deadline_s) as call:
            return await self._called(request, call)

    async def ListTools(self, request: pb.ListToolsRequest, context: Context) -> pb.ListToolsResponse:
        async with answering(context, "ListTools", self._metrics, self._parts.settings.tool_deadline_s):
            specs = self._parts.skills.specs()
            described = [self._parts.planner_tools.describe(spec) for spec in specs]
            return pb.ListToolsResponse(tools=[messages.tool(one) for one in described])

    async def UploadImage(self, request_iterator: AsyncIterator[pb.UploadImageRequest], context: Context) -> pb.Image:
        limit_s, bytes_max = self._parts.settings.tool_deadline_s, self._parts.settings.image_bytes_max
        async with answering(context, "UploadImage", self._metrics, limit_s, abort_at_limit=True):
            data = bytearray()
            async for piece in request_iterator:
                data += piece.data
                if len(data) > bytes_max:
                    # The store refuses it, and says by how much pictures are bounded.
                    break
            return messages.image(await self._parts.images.put(bytes(data), owner=ANONYMOUS))

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> None:
        limit_s = self._parts.settings.tool_deadline_s
        async with answering(context, "GetImage", self._metrics, limit_s, abort_at_limit=True):
            stored = await self._parts.images.get(request.id, owner=ANONYMOUS)
            for start in range(0, len(stored.data), CHUNK_BYTES):
                data = stored.data[start : start + CHUNK_BYTES]
                await context.write(pb.ImageChunk(image=None if start else messages.image(stored.info), data=data))

    async def _called(self, request: pb.CallToolRequest, call: Call) -> pb.CallToolResponse:
        started = call.context()
        spec = self._parts.skills.resolve(request.name)
        given = {
            kind: await reference(picture, self._parts, owner=started.owner, param=kind)
            for kind, picture in sorted(request.images.items())
        }
        arguments = {"arguments": messages.plain(request.arguments)} if request.HasField("arguments") else {}
        body: Any = checked(self._models[spec.name], {**given, **arguments})
        answer = await call_tool(
            spec,
            {kind: getattr(body, kind) for kind in spec.consumes},
            body.arguments.model_dump(mode="json", exclude_unset=True),
            self._parts,
            self._metrics,
            started,
        )
        drawn = await stored_overlay(answer, self._parts, owner=started.owner) if request.overlay else None
        return messages.tool_response(answer.body(), answer.outcome.pictures, drawn["id"] if drawn else "")

    async def _question(self, request: pb.ChatRequest) -> Question:
        async def one(picture: pb.Picture, param: str) -> str:
            return await shown(picture, self._parts, owner=ANONYMOUS, param=param)

        given = {
            "text": request.text,
            "images": [
                {"image": await one(named.picture, f"pictures.{index}"), "name": named.name or None}
                for index, named in enumerate(request.pictures)
            ],
            "session_id": request.session_id or None,
            "instructions": request.instructions or None,
            "mode": messages.MODES.get(request.mode),
            "debug": request.debug,
            **messages.marks(request),
        }
        if request.HasField("mask"):
            given["mask"] = await reference(request.mask, self._parts, owner=ANONYMOUS, param="mask")
        if request.HasField("reference"):
            meant = request.reference
            given["reference_image"] = await one(meant.image, "reference.image")
            given["reference_mask"] = await reference(meant.mask, self._parts, owner=ANONYMOUS, param="reference.mask")
        given |= {
            name: getattr(request, name) for name in ("max_tokens", "temperature", "seed") if request.HasField(name)
        }
        return checked(Question, given)
