"""The one table from exception to HTTP answer, in OpenAI's error format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.api import AdapterNotFound, PlannerUnavailable, PromptTooLong
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


class FetchError(GatewayError):
    """Nothing was fetched from a URL. `reason` is a half-sentence."""

    def __init__(self, reason: str, *, param: str | None = None) -> None:
        self.reason = reason
        super().__init__(
            f"The picture is not fetched: {reason}. Upload the file to /v1/images, or send it as a data: URL.",
            param=param,
        )


class FetchRefused(FetchError):
    """The URL leads where nothing is fetched from."""

    code = "image_url_refused"


class FetchFailed(FetchError):
    """The URL is one that may be fetched, and no picture came of it."""

    code = "image_url_failed"


class BodyTooLarge(GatewayError):
    """The body is over `body_bytes_max`."""

    status = 413
    code = "body_too_large"


class SessionNotFound(GatewayError):
    """No such session: it expired, never was, or is someone else's."""

    status = 404
    code = "session_not_found"


class ModelNotFound(GatewayError):
    """The planner has no adapter of that name, and no model but the planner answers chats."""

    status = 404
    code = "model_not_found"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"There is no such model; there are: {', '.join(names)}.", param="model")


class NothingToDraw(GatewayError):
    """There are no boxes, masks or maps to draw over a picture."""

    status = 404
    code = "nothing_to_draw"


class SessionBusy(GatewayError):
    """Another message of the session is being answered."""

    status = 409
    code = "session_busy"

    def __init__(self) -> None:
        super().__init__(
            "Another message of this session is being answered: try again when it is done.",
            param="session_id",
            headers={"Retry-After": "2"},
        )


class SessionLockLost(SessionBusy):
    """The message was answered, but the session was free for others meanwhile: the answer is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.message = (
            "The session's lock was lost while the message was answered, which was not stored: send it again."
        )


class MessageRunning(GatewayError):
    """A message with the same `Idempotency-Key` is being answered."""

    status = 409
    code = "message_running"

    def __init__(self) -> None:
        super().__init__(
            "The message with this Idempotency-Key is still being answered: try again later.",
            param="Idempotency-Key",
            headers={"Retry-After": "5"},
        )


class MessageLockLost(MessageRunning):
    """The message was answered, but it was free for others meanwhile to run it too: the answer is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.message = (
            "The lock of the message with this Idempotency-Key was lost while it was answered, which was not stored: "
            "send it again."
        )


class JobNotFound(GatewayError):
    """No such job: it expired, never was, or is someone else's."""

    status = 404
    code = "job_not_found"

    def __init__(self) -> None:
        super().__init__(
            "No such job: it expired or never was. GET /v1/jobs lists those that are kept.", param="job_id"
        )


class JobQueueFull(GatewayError):
    """As many jobs wait as are allowed to."""

    status = 429
    code = "job_queue_full"
    type = "rate_limit_error"

    def __init__(self, queue_max: int) -> None:
        super().__init__(
            f"{queue_max} jobs are waiting, and no more are taken: try again later.", headers={"Retry-After": "10"}
        )


class JobNotOver(GatewayError):
    """The job has no result yet."""

    status = 409
    code = "job_not_finished"

    def __init__(self, status: str) -> None:
        super().__init__(
            f"The job is {status}: its result is there when its status is succeeded.",
            param="job_id",
            headers={"Retry-After": "2"},
        )


class JobCancelled(GatewayError):
    """The job was cancelled, so it has no result."""

    status = 409
    code = "job_cancelled"

    def __init__(self) -> None:
        super().__init__("The job was cancelled: it has no result.", param="job_id")


class JobLost(GatewayError):
    """Who ran the job stopped before it was done."""

    status = 503
    code = "job_lost"
    type = "server_error"

    def __init__(self) -> None:
        super().__init__("The gateway that ran the job stopped before it was done: submit it again.")


class JobTooLong(GatewayError):
    """The job was not done within `job_deadline_s`."""

    status = 504
    code = "deadline_exceeded"
    type = "server_error"

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"The job was not done within {deadline_s:g} seconds.")


class StateUnavailable(GatewayError):
    """Redis does not answer: try again."""

    status = 503
    code = "state_unavailable"
    type = "server_error"

    def __init__(self) -> None:
        super().__init__("The store of pictures and sessions does not answer: try again.", headers={"Retry-After": "2"})


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
        """OpenAI's error format. Text is made safe for UTF-8, since it may quote what a client sent."""
        return {
            "error": {
                "message": _encodable(self.message),
                "type": self.type,
                "param": _encodable(self.param) if self.param is not None else None,
                "code": self.code,
                "request_id": request_id,
            }
        }


def _encodable(text: str, chars_max: int = 1000) -> str:
    return text[:chars_max].encode("utf-8", "replace").decode()


_SKILL_STATUS: tuple[tuple[type[skill_errors.SkillError], int, str], ...] = (
    (skill_errors.UnknownSkill, 404, "invalid_request_error"),
    (skill_errors.ImageNotFound, 404, "invalid_request_error"),
    (skill_errors.BadArguments, 422, "invalid_request_error"),
    (skill_errors.SkillOverloaded, 429, "rate_limit_error"),
    (skill_errors.DeadlineExceeded, 504, "server_error"),
    (skill_errors.SkillUnavailable, 503, "server_error"),
    (skill_errors.SkillFailed, 500, "server_error"),
)

SKILL_FAILED = "The skill failed on this input, and would again: change the input or use another skill."
"""Said instead of a failed skill's own words, which may quote a library's exception."""

TOO_LONG = HttpError(
    400,
    "context_length_exceeded",
    "invalid_request_error",
    "The message does not fit the planner's context: shorten it or send fewer pictures.",
    "messages",
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
                message = SKILL_FAILED if error_type is skill_errors.SkillFailed else error.message
                return HttpError(status, error.kind, label, message, error.details.get("argument"), headers)
    if isinstance(error, PlannerUnavailable):
        headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
        return HttpError(503, "planner_unavailable", "server_error", str(error), headers=headers)
    if isinstance(error, PromptTooLong):
        return TOO_LONG
    if isinstance(error, AdapterNotFound):
        return HttpError(404, "model_not_found", "invalid_request_error", str(error), "model")
    return INTERNAL
