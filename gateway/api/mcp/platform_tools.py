"""The tools that are no skill: asking the planner, and storing a picture."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import mcp_types as types
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from gateway.api.chat_service import KnownAnswer
from gateway.api.checked import checked
from gateway.api.mcp.pictures import SCHEME, handle_of, shown
from gateway.api.mcp.tool import Caller, object_schema
from gateway.api.pictures import picture
from gateway.api.question import Question, ask
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import SkillStarted, TurnEvent, TurnFinished
from gateway.parts import ANONYMOUS, GatewayParts
from gateway.responses import json_bytes
from gateway.state.models import StepRecord
from services.core.types import ImageRef

IMAGE_FIELDS = ("mask", "reference_image", "reference_mask")


class ChatOutput(BaseModel):
    answer: str
    session_id: str = Field(description="Send it with the next question to go on.")
    images: list[str] = Field(description="Handles of the pictures that came with the question.")
    produced_images: list[str] = Field(description="Handles of the pictures that tools made.")
    finish_reason: str = Field(description='"stop", or "length" when a limit cut the answer.')
    steps: list[StepRecord] | None = Field(None, description="With `debug`: what the planner did.")


class ChatTool:
    """Asks the planner."""

    definition = types.Tool(
        name="chat",
        title="Ask about pictures",
        description="Ask about pictures in words. A planner that sees them chooses and combines the other tools itself "
        "and answers in words, with pictures where tools make some. Send session_id to go on with a conversation.",
        input_schema=object_schema(Question),
        output_schema=object_schema(ChatOutput, "serialization"),
        annotations=types.ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False),
    )

    def __init__(self, parts: GatewayParts, metrics: GatewayMetrics) -> None:
        self._parts = parts
        self._metrics = metrics

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> types.CallToolResult:
        question = checked(Question, _with_handles(arguments))
        limit_s = self._parts.settings.turn_deadline_s
        opened = await ask(question, self._parts, self._metrics, lambda: caller.context(limit_s))
        assert not isinstance(opened, KnownAnswer), "only a message with a key is known"
        found = opened.turn.completed(await _finished(opened.events, caller))
        choice = found["choices"][0]
        output = {
            "answer": choice["message"]["content"],
            "finish_reason": choice["finish_reason"],
            **{name: found[name] for name in ("session_id", "images", "produced_images")},
            **({"steps": found["debug"]["steps"]} if question.debug else {}),
        }
        return types.CallToolResult(
            content=[
                types.TextContent(text=output["answer"]),
                *await shown(output["produced_images"], self._parts),
                types.TextContent(text=f"session_id: {output['session_id']}"),
            ],
            structured_content=from_json(json_bytes(output)),
        )


class UploadInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    image: str = Field(description="The picture: a data: URL (data:image/png;base64,...) or an https URL.")


class UploadOutput(BaseModel):
    id: ImageRef
    uri: str
    width: int = Field(description="Pixels.")
    height: int
    media_type: str
    expires: float = Field(description="Seconds since the epoch; every use renews it.")


class UploadTool:
    """Stores a picture."""

    definition = types.Tool(
        name="upload_image",
        title="Store a picture",
        description="Store a picture and get its handle (img_...), which all tools take as a picture.",
        input_schema=object_schema(UploadInput),
        output_schema=object_schema(UploadOutput, "serialization"),
        annotations=types.ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
        ),
    )

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts

    async def call(self, arguments: Mapping[str, Any], caller: Caller) -> types.CallToolResult:
        given = checked(UploadInput, arguments)
        info = await picture(handle_of(given.image), self._parts, owner=ANONYMOUS, param="image")
        output = UploadOutput(
            id=info.id,
            uri=SCHEME + info.id,
            width=info.size.width,
            height=info.size.height,
            media_type=info.media_type,
            expires=info.expires,
        )
        return types.CallToolResult(
            content=[types.TextContent(text=output.model_dump_json())], structured_content=output.model_dump()
        )


def _with_handles(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A question in which pictures' addresses are handles."""
    found = {name: handle_of(value) if name in IMAGE_FIELDS else value for name, value in arguments.items()}
    images = found.get("images")
    if isinstance(images, list):
        found["images"] = [
            {**one, "image": handle_of(one["image"])} if isinstance(one, dict) and "image" in one else handle_of(one)
            for one in images
        ]
    return found


async def _finished(events: AsyncGenerator[TurnEvent, None], caller: Caller) -> TurnFinished:
    finished: TurnFinished | None = None
    started = 0
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SkillStarted):
                started += 1
                await caller.report(started, event.skill)
            elif isinstance(event, TurnFinished):
                finished = event
    assert finished is not None, "a turn ends with TurnFinished"
    return finished
