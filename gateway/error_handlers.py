"""Every error leaves as OpenAI's format: here FastAPI's and Starlette's own errors join the one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from gateway.errors import GatewayError, HttpError, to_http
from gateway.responses import error_response
from planner.api import AdapterNotFound, PlannerUnavailable, PromptTooLong
from services.core.errors import SkillError

_log = structlog.get_logger("gateway.errors")

HTTP_ERRORS = {
    404: ("not_found", "Nothing answers at this path; GET /openapi.json lists what does."),
    405: ("method_not_allowed", "This path does not take that method; the header Allow says which it does."),
}


def install(app: FastAPI) -> None:
    for known in (GatewayError, SkillError, PlannerUnavailable, PromptTooLong, AdapterNotFound):
        app.add_exception_handler(known, _on_known)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)


def http_error(error: Exception) -> HttpError:
    """The table's entry; what is the server's fault is logged with its traceback, and only that."""
    found = to_http(error)
    if found.status >= 500:
        _log.error("request_failed", code=found.code, exc_info=error)
    return found


async def _on_known(request: Request, error: Exception) -> Response:
    return error_response(http_error(error), request.state.request_id)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(validation_error(error.errors()), request.state.request_id)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = HTTP_ERRORS.get(error.status_code, ("bad_request", str(error.detail)))
    label = "server_error" if error.status_code >= 500 else "invalid_request_error"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    found = HttpError(error.status_code, code, label, message, headers=headers)
    return error_response(found, request.state.request_id)


def _methods(request: Request) -> list[str]:
    """The methods that the path takes: Starlette's own error knows those of the first of its routes only."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})


def validation_error(errors: Sequence[Any]) -> HttpError:
    """The first thing wrong with a body; `param` is its path in dots, as OpenAI writes it."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return HttpError(400, "invalid_json", "invalid_request_error", "The body is not valid JSON.")
    path = [str(part) for part in first["loc"][1:]]
    param = ".".join(path) or None
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("model_attributes_type", "dict_type") and not path:
        message = "The body must be a JSON object, sent with Content-Type: application/json"
    text = f"{param}: {message}." if param else f"{message}."
    return HttpError(422, "invalid_request", "invalid_request_error", text, param)
