"""Text models that word requests and write dialogues: a port, and any OpenAI-compatible endpoint behind it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx

from planner.data.recipe import DataError, EndpointSettings

_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_WAIT_S, _WAIT_MAX_S = 1.0, 60.0


class OverBudget(DataError):
    """The recipe's bound on questions or tokens is reached; what was answered is kept."""


class TextModel(Protocol):
    """Writes text."""

    def complete(self, system: str, user: str, *, salt: str = "") -> str:
        """The model's answer; another `salt` asks the same question anew.

        Raises:
            DataError: there is no answer to be had.
        """
        ...


class EndpointModel:
    """An OpenAI-compatible endpoint with a cache on disk: no question is paid for twice, also by a later run.

    Args:
        cache: JSON lines of what was asked and answered; bounds count all of them.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        cache: Path,
        *,
        api_key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        base = settings.url.rstrip("/")
        self._client = httpx.Client(base_url=base, headers=headers, timeout=settings.timeout_s, transport=transport)
        self._settings = settings
        self._wait = wait
        self._path = cache
        self._answers: dict[str, str] = {}
        self._tokens = 0
        self._read()

    def complete(self, system: str, user: str, *, salt: str = "") -> str:
        parts = [self._settings.model, self._settings.temperature, system, user, salt]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        if key not in self._answers:
            self._check_budget()
            text, tokens = self._asked(system, user)
            self._keep(key, text, tokens)
        return self._answers[key]

    def close(self) -> None:
        self._client.close()

    def _check_budget(self) -> None:
        if len(self._answers) >= self._settings.requests_max:
            raise OverBudget(f"{self._settings.requests_max} questions are asked: raise `requests_max` to go on.")
        if self._tokens >= self._settings.tokens_max:
            raise OverBudget(f"{self._settings.tokens_max} tokens are used: raise `tokens_max` to go on.")

    def _asked(self, system: str, user: str) -> tuple[str, int]:
        body = {
            "model": self._settings.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": self._settings.temperature,
            "max_tokens": self._settings.max_tokens,
        }
        reason = ""
        for attempt in range(self._settings.retries + 1):
            if attempt:
                self._wait(min(_WAIT_S * 2**attempt, _WAIT_MAX_S))
            try:
                answer = self._client.post("/chat/completions", json=body)
            except httpx.TransportError as error:
                reason = f"it does not answer ({error})"
                continue
            if answer.is_success:
                return _read_answer(answer)
            reason = f"it answered {answer.status_code}: {answer.text[:200]}"
            if answer.status_code not in _BUSY:
                break
        raise DataError(f"The text model at {self._settings.url} cannot be used: {reason}.")

    def _read(self) -> None:
        if not self._path.is_file():
            return
        # Not `splitlines`: an answer may have characters in it, such as U+2028, that end a line of text.
        for line in self._path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
                self._answers[row["key"]] = row["text"]
                self._tokens += int(row["tokens"])
            except (ValueError, KeyError, TypeError):
                # The last line of a run that was cut, or nothing.
                continue

    def _keep(self, key: str, text: str, tokens: int) -> None:
        self._answers[key] = text
        self._tokens += tokens
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as out:
            # Half a line that a cut run left must not swallow this one.
            if out.tell():
                out.seek(-1, os.SEEK_END)
                if out.read(1) != b"\n":
                    out.write(b"\n")
            line = json.dumps({"key": key, "text": text, "tokens": tokens}, ensure_ascii=False) + "\n"
            out.write(line.encode())


def _read_answer(answer: httpx.Response) -> tuple[str, int]:
    try:
        body: dict[str, Any] = answer.json()
        # None where a model spent all its tokens on thinking: an empty answer, refused like any that is spoilt.
        text = str(body["choices"][0]["message"]["content"] or "")
        return text, int((body.get("usage") or {}).get("total_tokens", len(text) // 3))
    except (ValueError, KeyError, IndexError, TypeError):
        raise DataError("The text model's answer is not in the form of OpenAI's chat completions.") from None
