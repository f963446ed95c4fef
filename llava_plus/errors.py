"""What can go wrong, as one tree: what could not be sent, and what the server refused or failed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx


class LlavaPlusError(Exception):
    """Base of this package's errors; the message is one sentence for a person."""


class PictureError(LlavaPlusError, ValueError):
    """What was given as a picture is none: a path that cannot be read, an array of another shape."""


class BadMask(LlavaPlusError, ValueError):
    """A mask's code is damaged or does not fit its size."""


class ServerUnreachable(LlavaPlusError):
    """No answer: nothing listens at the address, or the connection broke."""


class TimedOut(ServerUnreachable):
    """The server took longer than the client's timeout."""


class UnexpectedAnswer(LlavaPlusError):
    """Something answered that does not speak this API: the address is another server's, or its version is."""


class ApiError(LlavaPlusError):
    """The server answered with an error, in the API's format.

    Attributes:
        status: HTTP status; None for an error in the middle of a stream, whose status had been sent.
        code: what is wrong, for programs: `invalid_image`, `session_not_found`, ...
        param: where in the request, in dots.
        request_id: by which the server's log knows the request.
        retry_after_s: when it may work, seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def as_dict(self) -> dict[str, Any]:
        """Everything but the message's class, as plain data."""
        return {
            "message": self.message,
            "status": self.status,
            "code": self.code,
            "param": self.param,
            "request_id": self.request_id,
            "retry_after_s": self.retry_after_s,
        }


class BadRequest(ApiError):
    """The request must change: 400, 413, 422."""


class NotAuthenticated(ApiError):
    """The API key is missing or wrong: 401."""


class NotAllowed(ApiError):
    """The API key may not do this: 403."""


class NotFound(ApiError):
    """No such picture, session, tool or job, or it is someone else's: 404."""


class Conflict(ApiError):
    """Another message of the session, or the same one, is being answered: 409."""


class TooManyRequests(ApiError):
    """The skill or the key's quota is used up for now: 429."""


class ServerFailed(ApiError):
    """The server, a skill or the planner failed: 5xx."""


class Unavailable(ServerFailed):
    """A part of the platform is starting or away: 503. Try again."""


class DeadlineExceeded(ServerFailed):
    """The call took longer than the server allows: 504."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    429: TooManyRequests,
    503: Unavailable,
    504: DeadlineExceeded,
}
_BY_TYPE: Mapping[str, type[ApiError]] = {
    "invalid_request_error": BadRequest,
    "rate_limit_error": TooManyRequests,
    "server_error": ServerFailed,
}
_BY_CODE: Mapping[str, type[ApiError]] = {
    "planner_unavailable": Unavailable,
    "state_unavailable": Unavailable,
    "session_busy": Conflict,
    "message_running": Conflict,
}


def api_error(response: httpx.Response) -> LlavaPlusError:
    """The error that a response with a status from 400 on tells of; its body has been read."""
    try:
        told = response.json()["error"]
        told = dict(told, message=str(told["message"]))
    except (ValueError, KeyError, TypeError):
        return UnexpectedAnswer(
            f"{response.request.url} answered {response.status_code} without this API's error: is it another server's?"
        )
    error = told_error(response.status_code, told)
    error.retry_after_s = retry_after_s(response)
    return error


def told_error(status: int, told: Mapping[str, Any]) -> ApiError:
    """The error that goes with a status.

    Args:
        told: `message`, `code`, `param`, `request_id`.
    """
    kind = _BY_STATUS.get(status, ServerFailed if status >= 500 else BadRequest)
    code, param, request_id = told.get("code"), told.get("param"), told.get("request_id")
    return kind(str(told.get("message")), status=status, code=code, param=param, request_id=request_id)


def stream_error(told: Mapping[str, Any]) -> ApiError:
    """The error that an event in the middle of a stream tells of."""
    code = told.get("code")
    kind = _BY_CODE.get(str(code)) or _BY_TYPE.get(str(told.get("type")), ServerFailed)
    message = str(told.get("message", "The server failed in the middle of its answer."))
    return kind(message, code=code, param=told.get("param"), request_id=told.get("request_id"))


def retry_after_s(response: httpx.Response) -> float | None:
    """The header's seconds; its other form, a date, is not used by this API."""
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else None
