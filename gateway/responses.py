"""JSON and error answers."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.responses import Response

from gateway.errors import HttpError

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that left before the answer; only logs and metrics ever see it."""


class FastJson(Response):
    """JSON by orjson, for bodies that are already plain data: neither checked nor converted again."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def error_response(error: HttpError, request_id: str) -> FastJson:
    """The answer for an error, in OpenAI's format."""
    return FastJson(error.body(request_id), status_code=error.status, headers=error.headers)
