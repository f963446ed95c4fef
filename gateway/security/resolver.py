"""Names to addresses, by the system's resolver, in threads of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Protocol

from gateway.security.addresses import Address


class Resolver(Protocol):
    """Finds the addresses of a host."""

    async def addresses(self, host: str) -> Sequence[Address]:
        """All addresses of a name, the best first; none where the name is not known."""
        ...

    def close(self) -> None: ...


class SystemResolver:
    """`getaddrinfo`. A name server that does not answer holds one of `threads`, and nobody else's work.

    Args:
        threads: most names that are looked up at the same time.
    """

    def __init__(self, threads: int = 4) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolver")

    async def addresses(self, host: str) -> Sequence[Address]:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host)
        except (OSError, UnicodeError):
            return ()
        return list(dict.fromkeys(ip_address(text) for text in found))

    def close(self) -> None:
        """Wait for nothing: a look-up that hangs ends by the system's own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
