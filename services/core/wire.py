"""What crosses the process border between a caller and a skill's replica: plain, versionless data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SkillRequest:
    """One call.

    Attributes:
        skill: canonical name.
        args: JSON-compatible arguments.
        images: symbol to picture handle.
        deadline: absolute time, seconds since the epoch.
    """

    skill: str
    args: dict[str, Any]
    images: dict[str, str]
    request_id: str
    deadline: float

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> SkillRequest:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class SkillReply:
    """One answer: `result`, or `error` as `SkillError.to_wire` gives it.

    Attributes:
        result: JSON-compatible, without the fields that hold pictures.
        pictures: PNG bytes by result field; a replica has no right to store them.
        checkpoint: the weights that answered; those of all parts for a composite.
    """

    result: dict[str, Any] | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    error: dict[str, Any] | None = field(default=None)
    checkpoint: str = ""
    wait_ms: float = 0.0
    compute_ms: float = 0.0
    batch_size: int = 0

    def to_wire(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> SkillReply:
        return cls(**data)
