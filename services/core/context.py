"""What travels with every call, from the edge to the replica."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallContext:
    """Who asks, under which id, until when.

    Attributes:
        request_id: the same id in every log line from gateway to skill.
        owner: whose pictures and sessions may be touched.
        deadline: absolute time (seconds since the epoch) after which nobody waits for the answer.
        fresh: answer from no cache.
    """

    request_id: str
    owner: str
    deadline: float
    fresh: bool = False

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.deadline - time.time())
