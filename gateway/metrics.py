"""Prometheus metrics of one gateway process, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from gateway.orchestrator.events import SkillFinished, TurnEvent, TurnFinished

HTTP_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
MODEL_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)


class GatewayMetrics:
    """Requests by route, turns, planner calls, skill calls and tokens.

    Labels are bounded: routes are templates, skills are known names, never what a client sent.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "llava_plus_requests", "HTTP requests answered.", ["route", "method", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "llava_plus_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=HTTP_BUCKETS_S,
            registry=registry,
        )
        self.active = Gauge("llava_plus_requests_active", "HTTP requests being answered now.", registry=registry)
        self._grpc_calls = Counter(
            "llava_plus_grpc_calls", "gRPC calls answered.", ["method", "code"], registry=registry
        )
        self._grpc_seconds = Histogram(
            "llava_plus_grpc_seconds",
            "Time from a gRPC call's start to the end of its answer.",
            ["method"],
            buckets=HTTP_BUCKETS_S,
            registry=registry,
        )
        self._jobs = Counter(
            "llava_plus_jobs", "Jobs run: succeeded, failed, cancelled or lost.", ["outcome"], registry=registry
        )
        self._job_seconds = Histogram(
            "llava_plus_job_seconds", "Jobs, without their wait.", buckets=MODEL_BUCKETS_S, registry=registry
        )
        self._turns = Counter("llava_plus_turns", "Chat turns by how they ended.", ["outcome"], registry=registry)
        self._planner_seconds = Histogram(
            "llava_plus_planner_seconds", "Planner calls.", buckets=MODEL_BUCKETS_S, registry=registry
        )
        self._skill_calls = Counter(
            "llava_plus_skill_calls",
            "Skill calls by outcome: ok, cached or the error's kind.",
            ["skill", "outcome"],
            registry=registry,
        )
        self._skill_seconds = Histogram(
            "llava_plus_skill_seconds", "Skill calls.", ["skill"], buckets=MODEL_BUCKETS_S, registry=registry
        )
        self._tokens = Counter("llava_plus_tokens", "Planner tokens.", ["kind"], registry=registry)

    def request_done(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def grpc_call(self, method: str, code: str, seconds: float) -> None:
        self._grpc_calls.labels(method, code).inc()
        self._grpc_seconds.labels(method).observe(seconds)

    def job_done(self, outcome: str, seconds: float) -> None:
        self._jobs.labels(outcome).inc()
        self._job_seconds.observe(seconds)

    def skill_call(self, skill: str, outcome: str, seconds: float) -> None:
        """Count one call. A name that no skill has (a planner may invent one) is counted as `unknown`."""
        label = "unknown" if outcome == "unknown_skill" else skill
        self._skill_calls.labels(label, outcome).inc()
        self._skill_seconds.labels(label).observe(seconds)

    def turn_event(self, event: TurnEvent) -> None:
        if isinstance(event, SkillFinished):
            done = "cached" if event.cached else "ok"
            outcome = done if event.error is None else str(event.error.get("kind", "skill_error"))
            self.skill_call(event.skill, outcome, event.elapsed_ms / 1000)
        elif isinstance(event, TurnFinished):
            self._turns.labels(event.finish_reason).inc()
            self._tokens.labels("prompt").inc(event.usage.prompt_tokens)
            self._tokens.labels("completion").inc(event.usage.completion_tokens)
            for step in event.steps:
                self._planner_seconds.observe(step.planner_ms / 1000)

    def turn_failed(self, outcome: str) -> None:
        """Count a turn that ended without an answer, under the error's code or `cancelled`."""
        self._turns.labels(outcome).inc()
