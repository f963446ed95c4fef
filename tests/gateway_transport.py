"""Answers of the platform's chat endpoint without a platform, for what speaks to it over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx


def chat_transport(answer: str, steps: list[dict[str, Any]]) -> tuple[httpx.MockTransport, list[dict[str, Any]]]:
    """A transport that gives one answer for ever, and the bodies that it was sent."""
    bodies: list[dict[str, Any]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        message = {"role": "assistant", "content": answer}
        said = {"choices": [{"message": message}], "session_id": "ses_1", "debug": {"steps": steps}}
        return httpx.Response(200, json=said | {"produced_images": []})

    return httpx.MockTransport(respond), bodies
