"""A judge behind OpenAI's chat completions, on a local port: says what a test's function says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

Says = Callable[[dict[str, Any]], "str | dict[str, Any] | int"]
"""From a request's body to a text, a whole message, or a status to refuse with."""


class JudgeServer:
    """What `tests.openai_server.serving` runs. `asked` are the bodies, oldest first."""

    def __init__(self, says: Says) -> None:
        self.asked: list[dict[str, Any]] = []
        self.url = ""
        self._says = says

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/v1/chat/completions", self._complete, methods=["POST"], response_model=None)
        return app

    async def _complete(self, request: Request) -> Any:
        body = await request.json()
        self.asked.append(body)
        said = self._says(body)
        if isinstance(said, int):
            return JSONResponse({"error": {"message": "busy"}}, status_code=said)
        message = said if isinstance(said, dict) else {"role": "assistant", "content": said}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def text_of(body: dict[str, Any]) -> str:
    """All that a request says in words."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    return "\n".join(part["text"] if isinstance(part, dict) else str(part) for part in parts if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and part["type"] == "text")
