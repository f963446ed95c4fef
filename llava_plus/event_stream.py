"""Server-sent events, from bytes as they come."""

from __future__ import annotations

from collections.abc import Iterator


class EventDecoder:
    """Cuts a stream of bytes into the data of its events.

    Only line feeds end lines: a JSON text may hold the other characters that Python counts as line ends.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> Iterator[str]:
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
                self._data = []
