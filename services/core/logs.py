"""Structured logs: one JSON object a line, an event each."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog


def configure_logs(component: str, *, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send all logs of this process, also the standard library's, through one JSON renderer.

    Args:
        component: enters every line, for example "gateway" or "skill".
        stream: where lines go; by default the process's own standard error, not what a library has put in
            the place of `sys.stderr` (Serve's replicas do, and hold lines back).
        level: lowest level kept.
    """
    target = stream or sys.__stderr__ or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_component(component),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _with_component(component: str) -> Any:
    def add(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        event.setdefault("component", component)
        return event

    return add
