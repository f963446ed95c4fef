"""Errors of a skill, named by what the caller should do about them.

They cross processes as plain data (`to_wire`, `from_wire`) and not as pickled exceptions: a
caller's mistake is then no stack trace in the replica's log, and nothing internal travels.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError


class SkillError(Exception):
    """Base of all errors that a skill call can end in.

    Attributes:
        message: one sentence for the caller, free of internals.
        details: machine-readable particulars (JSON-compatible), for example the argument at fault.
    """

    kind: ClassVar[str] = "skill_error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.to_wire(),)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": self.kind, "message": self.message, "details": self.details}

    @staticmethod
    def from_wire(data: dict[str, Any]) -> SkillError:
        """The error that `to_wire` described; an unknown kind becomes `SkillFailed`."""
        error_type = _KINDS.get(str(data.get("kind")), SkillFailed)
        details = data.get("details")
        return error_type(str(data.get("message", "")), **(details if isinstance(details, dict) else {}))


class BadArguments(SkillError):
    """The call is wrong and will be wrong again: fix the arguments."""

    kind = "bad_arguments"

    @classmethod
    def from_validation(cls, skill: str, error: ValidationError) -> BadArguments:
        """One sentence about the first thing that is wrong, naming the argument."""
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        argument = ".".join(str(part) for part in first["loc"])
        return cls(f"{skill}: argument {argument or 'object'}: {first['msg']}.", argument=argument)


class UnknownSkill(BadArguments):
    """No skill has that name: choose one that `GET /v1/tools` lists."""

    kind = "unknown_skill"


class ImageNotFound(BadArguments):
    """The handle names no stored picture (expired, or never uploaded): upload it again."""

    kind = "image_not_found"


class SkillUnavailable(SkillError):
    """The skill cannot answer now: try again after `details["retry_after_s"]` seconds."""

    kind = "skill_unavailable"

    @property
    def retry_after_s(self) -> float:
        return float(self.details.get("retry_after_s", 1.0))


class SkillOverloaded(SkillUnavailable):
    """The skill's queue is full: slow down."""

    kind = "skill_overloaded"


class DeadlineExceeded(SkillUnavailable):
    """The call did not finish within its deadline."""

    kind = "deadline_exceeded"


class SkillFailed(SkillError):
    """The skill broke on this input: adapt, since the same call would break again."""

    kind = "skill_failed"


def _subclasses(base: type[SkillError]) -> dict[str, type[SkillError]]:
    found = {base.kind: base}
    for child in base.__subclasses__():
        found |= _subclasses(child)
    return found


_KINDS: dict[str, type[SkillError]] = _subclasses(SkillError)


def _rebuild(data: dict[str, Any]) -> SkillError:
    return SkillError.from_wire(data)
