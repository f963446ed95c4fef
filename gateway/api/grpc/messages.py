"""Between gRPC's messages and what the rest of the gateway takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from gateway.orchestrator.events import AnswerDelta, SkillFinished, SkillStarted, StepPlanned, TurnEvent
from gateway.responses import json_bytes
from gateway.state.models import ImageInfo
from llava_plus.v1 import platform_pb2 as pb
from planner.format import PlannerOutput

MODES = {pb.MODE_UNSPECIFIED: None, pb.MODE_FLY: "fly", pb.MODE_ALL_TOOLS: "all_tools"}


def struct(content: Mapping[str, Any]) -> Struct:
    """JSON-compatible data; numbers that JSON does not know (NaN, infinity) become null, as over HTTP."""
    return json_format.Parse(json_bytes(content), Struct())


def plain(value: Any) -> Any:
    """A `Struct` as data. A Struct has doubles alone: those without a fraction become integers again."""
    return _integers(json_format.MessageToDict(value))


def _integers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integers(item) for item in value]
    return value


def image(info: ImageInfo) -> pb.Image:
    return pb.Image(
        id=info.id,
        width=info.size.width,
        height=info.size.height,
        media_type=info.media_type,
        bytes=info.bytes,
        created=info.created,
        expires=info.expires,
    )


def tool(description: Mapping[str, Any]) -> pb.Tool:
    """A tool from `PlannerTools.describe`."""
    schemas = ("arguments", "result")
    found = pb.Tool(**{name: value for name, value in description.items() if name not in schemas})
    found.arguments.CopyFrom(struct(description["arguments"]))
    found.result.CopyFrom(struct(description["result"]))
    return found


def tool_response(body: Mapping[str, Any], produced: Mapping[str, str], overlay: str) -> pb.CallToolResponse:
    """An answer from `ToolAnswer.body`."""
    result, timing = struct(body["result"]), pb.Timing(**body["timing"])
    rest = {name: value for name, value in body.items() if name not in ("result", "timing")}
    return pb.CallToolResponse(result=result, timing=timing, produced_images=dict(produced), overlay=overlay, **rest)


def marks(request: pb.ChatRequest) -> dict[str, Any]:
    """Points and boxes in a question's terms."""
    return {
        "points": [(point.x, point.y) for point in request.points],
        "point_labels": [int(not point.outside) for point in request.points] or None,
        "boxes": [(box.x0, box.y0, box.x1, box.y1) for box in request.boxes],
    }


def step(event: TurnEvent) -> pb.ChatEvent | None:
    """What happened between question and answer; None for what has no event of its own."""
    if isinstance(event, StepPlanned):
        return pb.ChatEvent(step_planned=_planned(event.output))
    if isinstance(event, SkillStarted):
        return pb.ChatEvent(skill_started=pb.SkillStarted(skill=event.skill, arguments=struct(event.args)))
    if isinstance(event, SkillFinished):
        return pb.ChatEvent(skill_finished=_skill_finished(event))
    return None


def delta(event: AnswerDelta) -> pb.ChatEvent:
    return pb.ChatEvent(delta=pb.AnswerDelta(text=event.text))


def finished(completion: Mapping[str, Any], *, replayed: bool) -> pb.ChatEvent:
    """The last event, from a `chat.completion`."""
    choice, usage = completion["choices"][0], completion["usage"]
    debug = completion.get("debug") or {}
    return pb.ChatEvent(
        finished=pb.ChatFinished(
            session_id=completion["session_id"],
            answer=choice["message"]["content"],
            images=completion["images"],
            produced_images=completion["produced_images"],
            cached=completion["cached"],
            finish_reason=choice["finish_reason"],
            usage=pb.Usage(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"]),
            model=completion["model"],
            steps=[struct(one) for one in debug.get("steps", ())],
            replayed=replayed,
        )
    )


def _planned(output: PlannerOutput) -> pb.StepPlanned:
    actions = [pb.Action(api_name=one.API_name, api_params=struct(one.API_params)) for one in output.actions]
    return pb.StepPlanned(thoughts=output.thoughts, actions=actions)


def _skill_finished(event: SkillFinished) -> pb.SkillFinished:
    finished = pb.SkillFinished(skill=event.skill, elapsed_ms=event.elapsed_ms, cached=event.cached)
    if event.error is not None:
        error = event.error
        finished.error.CopyFrom(pb.SkillError(code=str(error.get("kind", "")), message=str(error.get("message", ""))))
    else:
        finished.result.CopyFrom(struct(event.result or {}))
    return finished
