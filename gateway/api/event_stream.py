"""Server-sent events that end with the client: when it leaves, so does the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.disconnect import ClientGone, cancelled_when_client_leaves
from gateway.responses import json_bytes

ErrorBody = Callable[[Exception], dict[str, Any]]


class EventStream(Response):
    """Sends each item as one event, then `[DONE]`.

    Args:
        items: JSON-compatible bodies of the events; closed when the client leaves.
        error_body: what to send as the last event, instead of `[DONE]`, when `items` raises: the
            status line has been sent by then.
    """

    media_type = "text/event-stream"

    def __init__(
        self, items: AsyncGenerator[dict[str, Any], None], error_body: ErrorBody, headers: Mapping[str, str]
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**headers, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._items = items
        self._error_body = error_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_event(data: bytes, *, more: bool) -> None:
            await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": more})

        try:
            async with cancelled_when_client_leaves(receive), aclosing(self._items) as items:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for item in items:
                    await send_event(json_bytes(item), more=True)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the status line is sent: this is the last place to answer
            await send_event(json_bytes(self._error_body(error)), more=False)
        else:
            await send_event(b"[DONE]", more=False)
