"""Jobs: what takes longer than one wants to wait with an open connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llava_plus.answers import model_of, read
from llava_plus.chat import Options, own_key, question_body, whole_answer
from llava_plus.endpoints import call_body
from llava_plus.flow import Flow, Send, Sleep
from llava_plus.models import Answer, Job, JobPage, ToolResult
from llava_plus.pictures import MaskLike, Named, PictureLike
from llava_plus.retries import Retries, answered

POLL_S = 0.5
POLL_MAX_S = 5.0


def submit_call(
    name: str,
    image: PictureLike | None,
    inputs: Mapping[str, MaskLike],
    arguments: Mapping[str, Any],
    retries: Retries,
    *,
    use_cache: bool,
) -> Flow[Job]:
    body = yield from call_body(image, inputs, arguments, retries)
    headers = own_key({}) | ({} if use_cache else {"Cache-Control": "no-cache"})
    return (yield from _submitted({"tool": name, "input": body}, headers, retries))


def submit_question(
    text: str, pictures: Sequence[PictureLike | Named], options: Options, retries: Retries
) -> Flow[Job]:
    body = yield from question_body(text, pictures, options, retries)
    return (yield from _submitted({"chat": body}, own_key(options), retries))


def page(limit: int, after: str | None, retries: Retries) -> Flow[JobPage]:
    params = {"limit": limit} | ({"after": after} if after else {})
    response = yield from answered(Send("GET", "/v1/jobs", params=params, repeatable=True), retries)
    return model_of(response, JobPage)


def job(job_id: str, retries: Retries) -> Flow[Job]:
    response = yield from answered(Send("GET", _job(job_id), repeatable=True), retries)
    return model_of(response, Job)


def cancel(job_id: str, retries: Retries) -> Flow[Job]:
    response = yield from answered(Send("POST", f"{_job(job_id)}/cancel", repeatable=True), retries)
    return model_of(response, Job)


def result(job_id: str, retries: Retries) -> Flow[ToolResult | Answer]:
    """What the tool or the planner answered.

    Raises:
        ApiError: what it failed with; Conflict: it is not over.
    """
    response = yield from answered(Send("GET", f"{_job(job_id)}/result", repeatable=True), retries)
    kind = read(response, lambda: response.json().get("object"))
    return whole_answer(response) if kind == "chat.completion" else model_of(response, ToolResult)


def waited_for(job_id: str, progress: Callable[[Job], None], retries: Retries) -> Flow[ToolResult | Answer]:
    """The result, when the job is over.

    Args:
        progress: told how it stands, each time that it is looked at.
    """
    pause = POLL_S
    while True:
        found = yield from job(job_id, retries)
        progress(found)
        if found.over:
            return (yield from result(job_id, retries))
        yield Sleep(pause)
        pause = min(pause * 1.5, POLL_MAX_S)


def _submitted(body: dict[str, Any], headers: dict[str, str], retries: Retries) -> Flow[Job]:
    response = yield from answered(Send("POST", "/v1/jobs", json=body, headers=headers, repeatable=True), retries)
    return model_of(response, Job)


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
