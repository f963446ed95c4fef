"""What a request may say about itself over any protocol: its id, and that it wants fresh results."""

from __future__ import annotations

import re
import uuid

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def request_id(offered: str = "") -> str:
    """The client's own `X-Request-ID` if it is sane, else a new one."""
    return offered if _SANE_ID.fullmatch(offered) else f"req_{uuid.uuid4().hex}"


def wants_fresh(cache_control: str) -> bool:
    """Whether `Cache-Control` has `no-cache`, which asks for results that come from no cache."""
    return "no-cache" in {part.strip().lower() for part in cache_control.split(",")}
