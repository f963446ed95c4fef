"""The one table from exception to HTTP answer, in OpenAI's error format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.api import PlannerUnavailable
from services.core import errors as skill_errors


class GatewayError(Exception):
    """Base of errors that the gateway itself finds. `message` is shown to the client."""

    status = 400
    code = "bad_request"
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers or {}


class InvalidRequest(GatewayError):
    """The body is not what the endpoint takes."""

    code = "invalid_request"


class BadImage(GatewayError):
    """Not a picture, a damaged one, or one over the limits."""

    code = "invalid_image"


class BodyTooLarge(GatewayError):
    status = 413
    code = "body_too_large"


class SessionNotFound(GatewayError):
    status = 404
    code = "session_not_found"


@dataclass(frozen=True, slots=True)
class HttpError:
    """An error ready to be sent."""

    status: int
    code: str
    type: str
    message: str
    param: str | None = None
    headers: dict[str, str] | None = None

    def body(self, request_id: str) -> dict[str, Any]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error | {"request_id": request_id}}


_SKILL_STATUS: tuple[tuple[type[skill_errors.SkillError], int, str], ...] = (
    (skill_errors.UnknownSkill, 404, "invalid_request_error"),
    (skill_errors.ImageNotFound, 404, "invalid_request_error"),
    (skill_errors.BadArguments, 422, "invalid_request_error"),
    (skill_errors.SkillOverloaded, 429, "rate_limit_error"),
    (skill_errors.DeadlineExceeded, 504, "server_error"),
    (skill_errors.SkillUnavailable, 503, "server_error"),
    (skill_errors.SkillFailed, 500, "server_error"),
)

INTERNAL = HttpError(500, "internal_error", "server_error", "The server failed on this request; its log has the id.")


def to_http(error: Exception) -> HttpError:
    """What to answer for `error`; anything unknown becomes a 500 that reveals nothing."""
    if isinstance(error, GatewayError):
        return HttpError(error.status, error.code, error.type, error.message, error.param, error.headers)
    if isinstance(error, skill_errors.SkillError):
        for error_type, status, label in _SKILL_STATUS:
            if isinstance(error, error_type):
                headers = None
                if isinstance(error, skill_errors.SkillUnavailable):
                    headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
                return HttpError(status, error.kind, label, error.message, error.details.get("argument"), headers)
    if isinstance(error, PlannerUnavailable):
        headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        return HttpError(503, "planner_unavailable", "server_error", str(error), headers=headers)
    return INTERNAL
