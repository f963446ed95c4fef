"""Metrics of a skill's replica, exported by Ray's own Prometheus endpoint."""

from __future__ import annotations

from ray.util.metrics import Counter, Histogram

_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]


class SkillMetrics:
    """Calls, seconds and batch sizes by skill."""

    def __init__(self) -> None:
        self._calls = Counter("llava_plus_skill_calls", "Skill calls by outcome.", ("skill", "status"))
        self._seconds = Histogram("llava_plus_skill_call_seconds", "Seconds in the replica.", _SECONDS, ("skill",))
        self._compute = Histogram("llava_plus_skill_compute_seconds", "Seconds in predict.", _SECONDS, ("skill",))
        self._batch = Histogram("llava_plus_skill_batch_size", "Calls a batch.", [1, 2, 4, 8, 16, 32, 64], ("skill",))

    def observe(self, skill: str, status: str, elapsed_s: float, compute_s: float, batch_size: int) -> None:
        tags = {"skill": skill}
        self._calls.inc(1, tags | {"status": status})
        self._seconds.observe(elapsed_s, tags)
        if batch_size:
            self._compute.observe(compute_s, tags)
            self._batch.observe(batch_size, tags)
