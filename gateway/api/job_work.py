"""A job's work: checked when it is submitted, done when its turn has come."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from gateway.api.chat_input import check_request
from gateway.api.chat_models import ChatRequest
from gateway.api.chat_service import OpenedTurn, open_turn
from gateway.api.checked import checked
from gateway.api.pictures import handle_of
from gateway.api.tool_calls import call_tool
from gateway.api.tool_models import request_model
from gateway.errors import GatewayError, InvalidRequest
from gateway.jobs import JobRunner, Report
from gateway.metrics import GatewayMetrics
from gateway.orchestrator.events import AnswerDelta, SkillStarted, StepPlanned, TurnEvent
from gateway.parts import GatewayParts
from gateway.ports import RunningJob
from gateway.state.job_models import JobWork, Progress
from services.core.context import CallContext


async def tool_work(tool: str, given: dict[str, Any], parts: GatewayParts, *, owner: str, fresh: bool) -> JobWork:
    """A call of a tool, with its pictures stored: what is queued is small, and what is wrong is found now.

    Raises:
        UnknownSkill, InvalidRequest, BadImage, FetchError, ImageNotFound; `param` begins with `input`.
    """
    spec = parts.skills.resolve(tool)
    try:
        body = checked(request_model(spec), given)
    except GatewayError as error:
        raise InvalidRequest(
            f"input.{error.message}", param=f"input.{error.param}" if error.param else "input"
        ) from None
    stored = {
        str(symbol): await handle_of(getattr(body, symbol), parts, owner=owner, param=f"input.{symbol}")
        for symbol in sorted(spec.consumes)
    }
    arguments = body.arguments.model_dump(mode="json", exclude_unset=True)
    return JobWork(tool=spec.name, body={**stored, "arguments": arguments}, fresh=fresh)


async def chat_work(body: ChatRequest, parts: GatewayParts, *, owner: str, fresh: bool) -> JobWork:
    """A chat message, with its pictures stored.

    Raises:
        InvalidRequest, BadImage, FetchError, ImageNotFound, SessionNotFound.
    """
    if body.stream:
        raise InvalidRequest("chat.stream: a job is not streamed; leave it out.", param="chat.stream")
    check_request(body, parts.settings)
    if body.session_id:
        await parts.sessions.get(body.session_id, owner=owner)
    asked = body.model_dump(mode="json", exclude_unset=True)
    for index, message in enumerate(body.messages):
        for place, part in enumerate(message.content):
            where, written = f"chat.messages.{index}.content.{place}", asked["messages"][index]["content"][place]
            if part.type == "image_url":
                url = await handle_of(part.image_url.url, parts, owner=owner, param=f"{where}.image_url.url")
                written["image_url"]["url"] = url
            if part.type == "reference":
                written["image"] = await handle_of(part.image, parts, owner=owner, param=f"{where}.image")
            if part.type in ("reference", "mask"):
                written["mask"] = await handle_of(part.mask, parts, owner=owner, param=f"{where}.mask")
    return JobWork(tool=None, body=asked, fresh=fresh)


def job_runner(parts: GatewayParts, metrics: GatewayMetrics) -> JobRunner:
    """What runs jobs in this process."""

    async def execute(job: RunningJob, report: Report) -> dict[str, Any]:
        return await done(job, report, parts, metrics)

    return JobRunner(parts.jobs, execute, metrics.job_done, parts.settings, parts.progress)


async def done(job: RunningJob, report: Report, parts: GatewayParts, metrics: GatewayMetrics) -> dict[str, Any]:
    """Do a job's work; its result is what the tool's or the chat's own endpoint would have answered.

    Raises:
        Whatever these raise.
    """
    work = job.work

    def new_context() -> CallContext:
        deadline = time.time() + parts.settings.job_deadline_s
        return CallContext(request_id=job.id, owner=job.owner, deadline=deadline, fresh=work.fresh)

    if work.tool is None:
        opened = await open_turn(ChatRequest.model_validate(work.body), parts, metrics, new_context)
        assert isinstance(opened, OpenedTurn), "only a key finds a known answer"
        return await opened.turn.completion(_reported(opened.events, report))
    spec = parts.skills.resolve(work.tool)
    body: Any = request_model(spec).model_validate(work.body)
    given = {symbol: getattr(body, symbol) for symbol in spec.consumes}
    args = body.arguments.model_dump(mode="json", exclude_unset=True)
    report(Progress(message=f"running {spec.name}"))
    return (await call_tool(spec, given, args, parts, metrics, new_context())).body()


async def _reported(events: AsyncGenerator[TurnEvent, None], report: Report) -> AsyncGenerator[TurnEvent, None]:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, StepPlanned):
                report(Progress(message="planned"))
            elif isinstance(event, SkillStarted):
                report(Progress(message=f"running {event.skill}"))
            elif isinstance(event, AnswerDelta):
                report(Progress(message="answering"))
            yield event
