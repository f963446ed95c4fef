"""Results of skills from a running platform, over `POST /v1/tools/{name}`."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image

from planner.data.inputs import inputs_of
from planner.data.recipe import DataError
from planner.data.results import Asked, NoResult
from services.core.registry import Registry

RETRIES = 4
_WAIT_S = 2.0


class GatewayResults:
    """Implements `SkillResults`.

    Args:
        url: the gateway's address, without a path.
        api_key: sent as a bearer token, where there is one.
        transport: for tests, in place of the network.
        wait: sleeps; a call that finds the platform busy is tried again.
    """

    def __init__(
        self,
        url: str,
        registry: Registry,
        *,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        self._registry = registry
        self._wait = wait

    def close(self) -> None:
        self._client.close()

    def call(self, asked: Asked) -> dict[str, Any]:
        """Raises `NoResult` for a call that is refused, `DataError` where the platform takes none from us at all."""
        spec = self._registry.spec(asked.skill)
        given = {str(symbol): _sent(value) for symbol, value in inputs_of(spec, asked).items()}
        answer = self._posted(spec.name, {"arguments": dict(asked.args)} | given)
        if answer.is_success:
            result: dict[str, Any] = answer.json()["result"]
            return result
        raise NoResult(f"{spec.name}: the platform answered {answer.status_code}")

    def _posted(self, name: str, body: dict[str, Any]) -> httpx.Response:
        for attempt in range(RETRIES + 1):
            try:
                answer = self._client.post(f"/v1/tools/{name}", json=body)
            except httpx.TransportError as error:
                if attempt == RETRIES:
                    raise DataError(f"The platform at {self._client.base_url} does not answer: {error}.") from None
            else:
                if answer.status_code in (401, 403):
                    raise DataError(
                        f"The platform at {self._client.base_url} does not take the key ({answer.status_code}): set "
                        "LLAVA_PLUS_API_KEY."
                    )
                if answer.status_code not in (429, 503) or attempt == RETRIES:
                    return answer
            self._wait(_WAIT_S * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _sent(value: Image.Image | str) -> str:
    """A handle as it is, a picture as a data: URL."""
    if isinstance(value, str):
        return value
    packed = io.BytesIO()
    value.save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
