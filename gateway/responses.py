"""JSON and error answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json

from gateway.errors import HttpError

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before the answer; only logs and metrics ever see it."""


def json_bytes(content: Any) -> bytes:
    """Compact JSON; numbers that JSON does not know (NaN, infinity) become null."""
    return to_json(content, inf_nan_mode="null")


class FastJson(Response):
    """For bodies that are already plain data: neither checked nor converted again."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json_bytes(content)


class ErrorDetail(BaseModel):
    """What went wrong; `param` is the field at fault, its path in dots."""

    message: str
    type: str
    param: str | None
    code: str
    request_id: str


class ErrorBody(BaseModel):
    """OpenAI's error format, plus the request's id."""

    error: ErrorDetail


ERROR_RESPONSES: Mapping[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong, or too much at the moment."},
    "5XX": {"model": ErrorBody, "description": "The server failed, or is not ready."},
}


def error_response(error: HttpError, request_id: str) -> FastJson:
    """The answer for an error, in OpenAI's format."""
    return FastJson(error.body(request_id), status_code=error.status, headers=error.headers)
