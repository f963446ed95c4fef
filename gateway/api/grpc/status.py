"""From the one table of errors to gRPC's status codes and trailing metadata."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from gateway.errors import HttpError

_CODES: Mapping[int, grpc.StatusCode] = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

Metadata = tuple[tuple[str, str], ...]


def status_code(error: HttpError) -> grpc.StatusCode:
    """The canonical code for what HTTP clients get as a status."""
    otherwise = grpc.StatusCode.INTERNAL if error.status >= 500 else grpc.StatusCode.INVALID_ARGUMENT
    return _CODES.get(error.status, otherwise)


def trailing_metadata(error: HttpError, request_id: str) -> Metadata:
    """`code`, `request-id`, and where there are such `param` and `retry-after` (seconds)."""
    found = [("code", error.code), ("request-id", request_id)]
    if error.param is not None:
        found.append(("param", _ascii(error.param)))
    retry_after = (error.headers or {}).get("Retry-After")
    if retry_after is not None:
        found.append(("retry-after", retry_after))
    return tuple(found)


def _ascii(text: str, chars_max: int = 200) -> str:
    """Metadata holds printable ASCII alone; a field's name may be a client's invention."""
    kept = text[:chars_max].encode("ascii", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "?" for char in kept)
