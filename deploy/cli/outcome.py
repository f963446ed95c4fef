"""How a command that talks to the platform ends: its exit status, and the one line that says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

import llava_plus
from deploy.command import typed
from deploy.errors import DeployError, UsageError
from deploy.settings import DeploySettings
from deploy.state_dir import StateDir

EXIT_STATUSES: Mapping[int, str] = {
    0: "done",
    1: "failed on this machine",
    2: "the command line is wrong",
    3: "the platform does not run, or cannot be reached",
    4: "the platform refused the request: change it",
    5: "a skill, the planner or the platform failed",
    6: "busy, starting or too slow: try again later",
    130: "interrupted with Ctrl-C",
}


class NotReachable(DeployError):
    exit_status = 3


class Refused(DeployError):
    exit_status = 4


class PlatformFailed(DeployError):
    exit_status = 5


class TryLater(DeployError):
    exit_status = 6


_KINDS: tuple[tuple[type[llava_plus.LlavaPlusError], type[DeployError]], ...] = (
    (llava_plus.TimedOut, TryLater),
    (llava_plus.ServerUnreachable, NotReachable),
    (llava_plus.UnexpectedAnswer, NotReachable),
    (llava_plus.Conflict, TryLater),
    (llava_plus.TooManyRequests, TryLater),
    (llava_plus.Unavailable, TryLater),
    (llava_plus.DeadlineExceeded, TryLater),
    (llava_plus.ServerFailed, PlatformFailed),
    (llava_plus.ApiError, Refused),
    (llava_plus.PictureError, UsageError),
    (llava_plus.BadMask, PlatformFailed),
)


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """What the platform or the network says against a request ends the command with the status that fits.

    Args:
        as_json: write the error to standard output too, as {"error": {...}}.

    Raises:
        DeployError: with one line for the person.
    """
    try:
        yield
    except llava_plus.LlavaPlusError as error:
        if as_json:
            typer.echo(json.dumps({"error": _as_data(error)}, ensure_ascii=False))
        raise end_of(error) from error


def end_of(error: llava_plus.LlavaPlusError) -> DeployError:
    """The error as the end of a command."""
    if isinstance(error, llava_plus.ApiError) and error.code == "job_cancelled":
        return PlatformFailed(line_of(error))
    kind = next(ends for told, ends in _KINDS if isinstance(error, told))
    return kind(line_of(error))


def line_of(error: llava_plus.LlavaPlusError) -> str:
    """One line for the person, with what to do."""
    if isinstance(error, llava_plus.TimedOut):
        return str(error)
    if isinstance(error, llava_plus.ServerUnreachable):
        return f"{error} {_how_to_start()}"
    if isinstance(error, llava_plus.NotAuthenticated):
        return f"{error} Set LLAVA_PLUS_API_KEY to your key."
    if isinstance(error, llava_plus.ServerFailed) and error.request_id and error.code == "internal_error":
        return f"{error} ({error.request_id})"
    return str(error)


def _how_to_start() -> str:
    state = StateDir(DeploySettings().state_dir.expanduser().resolve())
    run = state.read()
    if run is not None and run.phase == "loading" and state.locked():
        return f"The platform is starting at {run.address}: wait until `{typed('status')}` says ready."
    return f"Start the platform with `make up` (`{typed('up')}`), or name where it runs with --url or LLAVA_PLUS_URL."


def _as_data(error: llava_plus.LlavaPlusError) -> dict[str, object]:
    if isinstance(error, llava_plus.ApiError):
        return error.as_dict()
    return {"message": str(error), "code": None, "kind": type(error).__name__}
