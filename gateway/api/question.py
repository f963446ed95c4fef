"""A question about pictures as protocols without OpenAI's messages put it, and its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.api.chat_models import ChatRequest, Utf8
from gateway.api.chat_service import KnownAnswer, OpenedTurn, open_turn
from gateway.api.checked import checked
from gateway.api.visual_prompts import MARKS_MAX, MaskGiven
from gateway.errors import GatewayError
from gateway.metrics import GatewayMetrics
from gateway.parts import GatewayParts
from gateway.state.models import Mode
from services.core.context import CallContext
from services.core.types import Box, Point


class NamedImage(BaseModel):
    """A picture with a name by which later questions may call it."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(description="Handle (img_...), data: URL or https URL.")
    name: Utf8 | None = Field(None, min_length=1, max_length=64)


def _named(given: Any) -> Any:
    return {"image": given} if isinstance(given, str) else given


SentImage = Annotated[NamedImage, BeforeValidator(_named, json_schema_input_type=str | NamedImage)]


class Question(BaseModel):
    """One message of a person."""

    model_config = ConfigDict(extra="forbid")

    text: Utf8 = Field(description="The question or request.")
    images: list[SentImage] = Field(
        default_factory=list, description="The pictures it is about; none to go on with those of the conversation."
    )
    points: list[Point] = Field(default_factory=list, max_length=MARKS_MAX, description="Points in the last picture.")
    point_labels: list[Literal[0, 1]] | None = Field(
        None, description="For each point: 1 on the object, 0 beside it; all 1 when left out."
    )
    boxes: list[Box] = Field(default_factory=list, max_length=MARKS_MAX, description="Boxes in the last picture.")
    mask: MaskGiven | None = Field(None, description="A mask drawn over the last picture.")
    reference_image: str | None = Field(None, description="A picture that shows what is meant.")
    reference_mask: MaskGiven | None = Field(None, description="What is meant in the reference picture.")
    session_id: Utf8 | None = Field(None, description="Continues this conversation; left out, a new one starts.")
    instructions: Utf8 | None = Field(None, description="Instructions for the planner in a new conversation.")
    mode: Mode | None = Field(
        None,
        description="fly: the planner calls what it wants; all_tools: all tools that understand pictures run first.",
    )
    debug: bool = Field(False, description="Return the steps too: thoughts, actions, results, timings.")
    max_tokens: int | None = Field(None, ge=1, description="Longest planner reply, tokens.")
    temperature: float | None = Field(None, ge=0.0, le=2.0, allow_inf_nan=False, description="0 (greedy) by default.")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)

    @model_validator(mode="after")
    def _paired(self) -> Question:
        if (self.reference_image is None) != (self.reference_mask is None):
            raise ValueError("reference_image and reference_mask go together: give both or none")
        return self


async def ask(
    question: Question,
    parts: GatewayParts,
    metrics: GatewayMetrics,
    new_context: Callable[[], CallContext],
    idempotency_key: str | None = None,
) -> KnownAnswer | OpenedTurn:
    """Open the question's turn: see `open_turn`, also for what it raises; `param` is in the question's terms."""
    content, fields = _content(question)
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if question.instructions and question.session_id is None:
        messages.insert(0, {"role": "system", "content": question.instructions})
    options = question.model_dump(include={"session_id", "mode", "debug", "max_tokens", "temperature", "seed"})
    message = f"messages.{len(messages) - 1}"
    names = {f"{message}.content.{index}": field for index, field in enumerate(fields)} | {message: "text"}
    with _in_terms_of_the_question(names):
        body = checked(ChatRequest, {"messages": messages, **options})
        return await open_turn(body, parts, metrics, new_context, idempotency_key)


def _content(question: Question) -> tuple[list[dict[str, Any]], list[str]]:
    """The parts of OpenAI's message, and for each the field that it comes from."""
    parts: list[tuple[str, dict[str, Any]]] = [("text", {"type": "text", "text": question.text})]
    for index, one in enumerate(question.images):
        url = {"url": one.image, "name": one.name}
        parts.append((f"images.{index}", {"type": "image_url", "image_url": url}))
    if question.points:
        points = {"type": "points", "points": question.points, "labels": question.point_labels}
        parts.append(("points", points))
    if question.boxes:
        parts.append(("boxes", {"type": "boxes", "boxes": question.boxes}))
    if question.mask is not None:
        parts.append(("mask", {"type": "mask", "mask": question.mask}))
    if question.reference_image is not None:
        reference = {"type": "reference", "image": question.reference_image, "mask": question.reference_mask}
        parts.append(("reference", reference))
    return [part for _, part in parts], [field for field, _ in parts]


@contextmanager
def _in_terms_of_the_question(names: dict[str, str]) -> Iterator[None]:
    """Errors name a field of the question, where they named a place in OpenAI's messages.

    Args:
        names: the field for a place, the longest places first.
    """
    try:
        yield
    except GatewayError as error:
        place = next((place for place in names if error.param and f"{error.param}.".startswith(f"{place}.")), None)
        if place is not None and error.param is not None:
            for spoken_of in (error.param, place):
                error.message = error.message.replace(spoken_of, names[place])
            error.param = names[place]
        raise
