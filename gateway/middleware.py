"""ASGI middleware, one concern each, outermost first: request id, access log, body limit, last resort."""

from __future__ import annotations

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.disconnect import ClientGone
from gateway.errors import BodyTooLarge, to_http
from gateway.metrics import GatewayMetrics
from gateway.request_headers import request_id
from gateway.responses import CLIENT_CLOSED_REQUEST, error_response

_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})
UNMATCHED = "(unmatched)"
"""Route label of requests that no route took."""
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestId:
    """Gives every request an id: the client's `X-Request-ID` if it is sane, else a new one.

    The id is in `request.state.request_id`, in every log line, and in the answer's header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given_id = request_id(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = given_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=given_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = given_id
            await send(message)

        await self.app(scope, receive, send_with_id)


class AccessLog:
    """One line and one measurement a request. Probes are logged at debug level."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self.app = app
        self.metrics = metrics
        self.log = structlog.get_logger("gateway.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED_REQUEST

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        self.metrics.active.inc()
        try:
            await self.app(scope, receive, send_noting_status)
        except ClientGone:
            status = CLIENT_CLOSED_REQUEST
        finally:
            self.metrics.active.dec()
            elapsed_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", UNMATCHED)
            method = scope["method"] if scope["method"] in _KNOWN_METHODS else "OTHER"
            self.metrics.request_done(route, method, status, elapsed_s)
            write = self.log.debug if route in _QUIET_ROUTES else self.log.info
            write("request", method=method, route=route, status=status, elapsed_ms=round(elapsed_s * 1000, 2))


class BodyLimit:
    """Answers 413 to a body over the limit, by its Content-Length or as soon as it has streamed too much.

    It stores nothing itself, and the application never sees more than the limit.
    """

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self.bytes_max):
            await self._refuse(scope, receive, send)
            return
        received = 0
        exceeded = False
        answered = False

        async def receive_counting() -> Message:
            nonlocal received, exceeded
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.bytes_max:
                exceeded = True
                raise BodyTooLarge(self._message())
            return message

        async def send_unless_exceeded(message: Message) -> None:
            nonlocal answered
            if exceeded and not answered:
                return
            answered = True
            await send(message)

        try:
            await self.app(scope, receive_counting, send_unless_exceeded)
        except BodyTooLarge:
            if answered:
                raise
        if exceeded and not answered:
            await self._refuse(scope, receive, send)

    def _message(self) -> str:
        return f"The body is larger than the limit of {self.bytes_max} bytes."

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(to_http(BodyTooLarge(self._message())), scope["state"]["request_id"])
        await response(scope, receive, send)


class LastResort:
    """Turns an exception that nobody handled into a 500 that reveals nothing, and logs its traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.log = structlog.get_logger("gateway.errors")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except (BodyTooLarge, ClientGone):
            raise
        except Exception as error:
            self.log.error("unhandled_error", exc_info=error)
            if started:
                raise
            await error_response(to_http(error), scope["state"]["request_id"])(scope, receive, send)
