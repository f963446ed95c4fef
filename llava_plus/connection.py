"""Where the server is, and how it is spoken to; shared by both clients."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 150.0
"""Longer than the server's own limit of a turn, so that its error arrives."""
CONNECT_TIMEOUT_S = 5.0


def http_options(base_url: str | None, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """Arguments of `httpx.Client` and `httpx.AsyncClient`.

    Args:
        base_url: `LLAVA_PLUS_URL` when None; a trailing /v1, as OpenAI's client wants it, may stand or not.
        api_key: `LLAVA_PLUS_API_KEY` when None.

    Raises:
        ValueError: the address is not one of http or https.
    """
    given = base_url or os.environ.get("LLAVA_PLUS_URL") or DEFAULT_URL
    url = httpx.URL(given.rstrip("/").removesuffix("/v1"))
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{given!r} is no address: write it like {DEFAULT_URL}.")
    key = api_key or os.environ.get("LLAVA_PLUS_API_KEY")
    return {
        "base_url": url,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "timeout": httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        # A proxy that the environment names cannot reach this machine's own loopback.
        "trust_env": not _loopback(url.host),
    }


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
