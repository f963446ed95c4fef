"""What stops a start, in one line that says what to do."""

from __future__ import annotations


class DeployError(Exception):
    """Base of errors that end a command; the message is one line for the person at the terminal."""

    exit_status = 1


class UsageError(DeployError):
    """Something outside must change before a start can succeed: exit status 2."""

    exit_status = 2


class ComponentFailed(DeployError):
    """A component died or gave up while it loaded or ran.

    Attributes:
        log_tail: the last lines of its log, oldest first.
    """

    def __init__(self, message: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log_tail = log_tail
