"""Any OpenAI-compatible endpoint, as a judge or as what is scored. Replies are kept: nothing is paid twice."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from planner.eval.command import EvaluationError
from planner.eval.journal import Journal, fingerprint

_TRIES = 6
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class Endpoint:
    """Chat completions with a cache on disk.

    Args:
        url: base URL with its version, for example https://example.org/v1.
        cache: file of the replies so far; a request that is in it is not sent again.
        temperature, max_tokens, seed: go along with every request and so into the cache's keys.
        retry_s: wait after the first refusal; it doubles with each.
        transport: for tests; httpx's own by default.
    """

    def __init__(
        self,
        url: str,
        model: str,
        cache: Path,
        *,
        key: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 1024,
        seed: int | None = None,
        retry_s: float = 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/", headers=headers, transport=transport, timeout=600.0, trust_env=False
        )
        self.model = model
        self._settings: dict[str, Any] = {"model": model, "temperature": temperature, "max_tokens": max_tokens}
        if seed is not None:
            self._settings["seed"] = seed
        self._cache = Journal(cache, {"kind": "chat completions"})
        self._retry_s = retry_s

    async def close(self) -> None:
        await self._client.aclose()

    async def text(
        self, messages: Sequence[Mapping[str, Any]], *, sample: int = 0, temperature: float | None = None
    ) -> str:
        """What the model says.

        Args:
            sample: another number asks the same again.
            temperature: instead of the endpoint's own.
        """
        more = {} if temperature is None else {"temperature": temperature}
        return str((await self.message(messages, sample=sample, more=more)).get("content") or "")

    async def message(
        self, messages: Sequence[Mapping[str, Any]], *, sample: int = 0, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The model's message, with its tool calls.

        Args:
            more: further fields of the request, for example `tools`.

        Raises:
            EvaluationError: the endpoint refuses, or stays busy.
        """
        body = self._settings | {"messages": list(messages)} | dict(more or {})
        key = fingerprint([body, sample])
        if key in self._cache:
            return dict(self._cache.results[key]["message"])
        message = await self._sent(body)
        return dict(self._cache.keep(key, {"message": message})["message"])

    async def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        wait, status, said = self._retry_s, 0, ""
        for _ in range(_TRIES):
            try:
                response = await self._client.post("chat/completions", json=dict(body))
            except httpx.HTTPError as error:
                status, said = 0, type(error).__name__
            else:
                status, said = response.status_code, response.text[:300]
                if status == httpx.codes.OK:
                    return dict(response.json()["choices"][0]["message"])
                if status not in _BUSY:
                    break
            await asyncio.sleep(wait)
            wait *= 2
        raise EvaluationError(f"{self._client.base_url}chat/completions: {status or 'no answer'}: {said}")


def image_part(path: Path) -> dict[str, Any]:
    """A picture file as a content part."""
    kind = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}.get(path.suffix.lower(), "png")
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}
