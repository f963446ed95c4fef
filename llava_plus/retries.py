"""When a request is sent again: only where that cannot do something twice, and not for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from llava_plus.errors import ServerUnreachable, TimedOut, api_error, retry_after_s
from llava_plus.flow import Flow, Send, Sleep

_WORTH_A_RETRY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long.

    A request that never left (nothing listened) is sent again, as is one that was answered 429, 503, or 409 for the
    same message being answered, with a `Retry-After`; one whose connection broke only when it is repeatable. A timeout
    is never tried again.

    Attributes:
        attempts_max: how often a request is sent, all in all.
        wait_max_s: the longest pause before one; a longer `Retry-After` is left to the caller, seconds.
        pause_s: the first pause where the server names none; each is twice the one before, seconds.
    """

    attempts_max: int = 3
    wait_max_s: float = 10.0
    pause_s: float = 0.25

    def pauses(self) -> Iterator[float]:
        for attempt in range(self.attempts_max - 1):
            yield min(self.pause_s * 2**attempt, self.wait_max_s)


NO_RETRIES = Retries(attempts_max=1)


def answered(send: Send, retries: Retries, *, good: frozenset[int] = frozenset()) -> Flow[httpx.Response]:
    """Send until there is an answer.

    Args:
        good: statuses from 400 on that are no errors here.

    Raises:
        ServerUnreachable, TimedOut: there is none.
        ApiError: it is an error.
    """
    pauses = retries.pauses()
    while True:
        try:
            response: httpx.Response = yield send
        except httpx.TransportError as error:
            pause = next(pauses, None) if _may_repeat(send, error) else None
            if pause is None:
                raise unreachable(error) from error
        else:
            if not response.is_error or response.status_code in good:
                return response
            pause = next(pauses, None) if _worth_a_retry(response) else None
            named = retry_after_s(response)
            if pause is None or named is None or named > retries.wait_max_s:
                raise api_error(response)
            pause = max(pause, named)
        yield Sleep(pause)


def _worth_a_retry(response: httpx.Response) -> bool:
    if response.status_code == 409:
        # The first sending of a message whose connection broke is still being answered.
        return getattr(api_error(response), "code", None) == "message_running"
    return response.status_code in _WORTH_A_RETRY


def _may_repeat(send: Send, error: httpx.TransportError) -> bool:
    if isinstance(error, httpx.ConnectError):
        return True
    return send.repeatable and not isinstance(error, httpx.TimeoutException)


def unreachable(error: httpx.TransportError) -> ServerUnreachable:
    """What a broken connection is to the caller."""
    try:
        url = error.request.url
        where = f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
    except RuntimeError:  # httpx: the request was never made
        where = "the server"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ServerUnreachable(f"Nothing answers at {where}.")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"{where} did not answer in time.")
    return ServerUnreachable(f"The connection to {where} broke ({error or type(error).__name__}).")


@contextmanager
def told_as_unreachable() -> Iterator[None]:
    """A connection that breaks in the middle of an answer is one of this package's errors."""
    try:
        yield
    except httpx.TransportError as error:
        raise unreachable(error) from error
