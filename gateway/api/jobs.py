"""Jobs: tool calls and chats that take longer than a client wants to wait with an open connection."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.api.chat import IDEMPOTENT_REPLAYED, IdempotencyKey
from gateway.api.chat_models import ChatRequest, Utf8
from gateway.api.job_work import chat_work, tool_work
from gateway.errors import HttpError, JobCancelled, JobNotOver
from gateway.jobs import JobRunner
from gateway.parts import ANONYMOUS, call_context, parts_of
from gateway.ports import Answer, AnswerStore
from gateway.responses import ErrorDetail, FastJson, error_response
from gateway.state.job_models import Job, JobStatus, JobWork, Progress

router = APIRouter(tags=["jobs"])


class JobRequest(BaseModel):
    """Either `tool` with its `input`, or `chat`."""

    model_config = ConfigDict(extra="forbid")

    tool: Utf8 | None = Field(None, description="A tool that GET /v1/tools lists.")
    input: dict[str, Any] | None = Field(None, description="What POST /v1/tools/{tool} takes.")
    chat: ChatRequest | None = Field(None, description="What POST /v1/chat/completions takes, without `stream`.")

    @model_validator(mode="after")
    def _one(self) -> JobRequest:
        if (self.tool is None) == (self.chat is None) or (self.tool is None) != (self.input is None):
            raise ValueError("give either tool and input, or chat")
        return self


class JobView(BaseModel):
    """A job. Times are seconds since the epoch; `elapsed_s` is how long it has run so far.

    `progress` is what the work says about itself while it runs; a step is null where it cannot tell.
    """

    id: str
    object: str = Field("job", description="Always `job`.")
    type: Literal["tool", "chat"]
    tool: str | None
    status: JobStatus
    created: float
    started: float | None
    finished: float | None
    elapsed_s: float
    progress: Progress
    cancel_requested: bool = Field(description="It ends as soon as who runs it has noticed.")
    error: ErrorDetail | None
    result_url: str = Field(description="Where its result is when it has succeeded.")


class JobList(BaseModel):
    object: str = Field("list", description="Always `list`.")
    data: list[JobView]
    has_more: bool


@router.post("/v1/jobs", status_code=202, response_model=JobView)
async def submit_job(body: JobRequest, request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Queue a tool call or a chat. What is wrong with it is said at once; its pictures are stored and fetched now."""
    parts = parts_of(request)
    owner = ANONYMOUS
    if idempotency_key is None:
        return FastJson(_view(await _submitted(body, request)), status_code=202)
    answers: AnswerStore = parts.answers
    message = b"job\0" + body.model_dump_json().encode()
    async with answers.answering(idempotency_key, message, owner=owner) as answering:
        if answering.known is not None:
            known = await parts.jobs.get(answering.known["id"], owner=owner)
            return FastJson(_view(known), status_code=202, headers={IDEMPOTENT_REPLAYED: "true"})
        job = await _submitted(body, request, answering)
    return FastJson(_view(job), status_code=202)


@router.get("/v1/jobs", response_model=JobList)
async def list_jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, description="How many; a setting bounds it.")] = 20,
    after: Annotated[str | None, Query(description="Id of the last job of the page before.")] = None,
) -> Response:
    """The jobs, the newest first."""
    parts = parts_of(request)
    limit = min(limit, parts.settings.jobs_listed_max)
    found = await parts.jobs.page(owner=ANONYMOUS, limit=limit + 1, after=after)
    return FastJson({"object": "list", "data": [_view(job) for job in found[:limit]], "has_more": len(found) > limit})


@router.get("/v1/jobs/{job_id}", response_model=JobView)
async def get_job(job_id: str, request: Request) -> Response:
    """Where a job stands. One whose gateway has died is `failed`, with the error `job_lost`."""
    return FastJson(_view(await parts_of(request).jobs.get(job_id, owner=ANONYMOUS)))


@router.get("/v1/jobs/{job_id}/result", response_model=dict[str, Any])
async def get_job_result(job_id: str, request: Request) -> Response:
    """What the tool's or the chat's own endpoint would have answered, its error and status included."""
    jobs = parts_of(request).jobs
    job = await jobs.get(job_id, owner=ANONYMOUS)
    if job.status == "succeeded":
        return Response(await jobs.result(job_id, owner=ANONYMOUS), media_type=FastJson.media_type)
    if job.error is not None:
        return error_response(HttpError(**job.error), job.id)
    raise JobCancelled if job.status == "cancelled" else JobNotOver(job.status)


@router.post("/v1/jobs/{job_id}/cancel", response_model=JobView)
async def cancel_job(job_id: str, request: Request) -> Response:
    """End a job. One that runs ends a moment later; one that is over stays as it is."""
    job = await parts_of(request).jobs.cancel(job_id, owner=ANONYMOUS)
    _look(request, job.id)
    return FastJson(_view(job))


async def _submitted(body: JobRequest, request: Request, answering: Answer | None = None) -> Job:
    parts = parts_of(request)
    job = await parts.jobs.submit(
        await _work(body, request), owner=ANONYMOUS, kept=answering.kept if answering else None
    )
    _look(request)
    return job


async def _work(body: JobRequest, request: Request) -> JobWork:
    parts, fresh = parts_of(request), call_context(request, 0.0).fresh
    if body.chat is not None:
        return await chat_work(body.chat, parts, owner=ANONYMOUS, fresh=fresh)
    assert body.tool is not None
    return await tool_work(body.tool, body.input or {}, parts, owner=ANONYMOUS, fresh=fresh)


def _look(request: Request, job_id: str | None = None) -> None:
    """This process' own runner need not wait for its next look."""
    runner: JobRunner | None = request.app.state.jobs
    if runner is not None:
        runner.look(job_id)


def _view(job: Job) -> dict[str, Any]:
    error = HttpError(**job.error).body(job.id)["error"] if job.error is not None else None
    elapsed_s = (job.finished or time.time()) - job.started if job.started is not None else 0.0
    return {
        "id": job.id,
        "object": "job",
        "type": "chat" if job.tool is None else "tool",
        "tool": job.tool,
        "status": job.status,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "elapsed_s": max(0.0, elapsed_s),
        "progress": job.progress.model_dump(),
        "cancel_requested": job.cancel_requested,
        "error": error,
        "result_url": f"/v1/jobs/{job.id}/result",
    }
