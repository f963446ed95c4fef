"""Around every call: its id, deadline, log line and measurement, and errors as gRPC has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from gateway.api.grpc.status import status_code, trailing_metadata
from gateway.error_handlers import http_error
from gateway.metrics import GatewayMetrics
from gateway.parts import ANONYMOUS
from gateway.request_headers import request_id, wants_fresh
from services.core.context import CallContext
from services.core.errors import DeadlineExceeded

Context = grpc.aio.ServicerContext[Any, Any]
_log = structlog.get_logger("gateway.access")


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is being answered.

    Attributes:
        limit_s: the server's own limit; the client's deadline counts where it is earlier.
    """

    request_id: str
    fresh: bool
    limit_s: float
    _context: Context

    def context(self) -> CallContext:
        """The context of what the call asks for, counted from now."""
        left_s = self._context.time_remaining()
        limit_s = self.limit_s if left_s is None else min(self.limit_s, left_s)
        return CallContext(self.request_id, ANONYMOUS, time.time() + limit_s, self.fresh)


@asynccontextmanager
async def answering(
    context: Context, method: str, metrics: GatewayMetrics, limit_s: float, *, abort_at_limit: bool = False
) -> AsyncIterator[Call]:
    """Run the block as the answer to a call; what it raises ends the call with a status.

    A client that cancels, or whose deadline passes, cancels the block.

    Args:
        abort_at_limit: cancel the block itself after `limit_s` seconds.
    """
    sent = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
    given_id = request_id(sent.get("x-request-id", ""))
    fresh = wants_fresh(sent.get("cache-control", ""))
    structlog.contextvars.bind_contextvars(request_id=given_id)
    started = time.perf_counter()
    code = grpc.StatusCode.CANCELLED
    try:
        await context.send_initial_metadata((("x-request-id", given_id),))
        async with asyncio.timeout(limit_s if abort_at_limit else None) as limit:
            yield Call(given_id, fresh, limit_s, context)
        code = grpc.StatusCode.OK
    except Exception as error:  # noqa: BLE001 - the edge of the process: nothing unknown may reach a client
        too_slow = isinstance(error, TimeoutError) and limit.expired()
        found = http_error(DeadlineExceeded(f"Not over after {limit_s:g} s: send faster.") if too_slow else error)
        code = status_code(found)
        body = found.body(given_id)["error"]
        await context.abort(code, body["message"], trailing_metadata(found, given_id))
    finally:
        elapsed_s = time.perf_counter() - started
        metrics.grpc_call(method, code.name, elapsed_s)
        _log.info("grpc", method=method, code=code.name, elapsed_ms=round(elapsed_s * 1000, 2))
