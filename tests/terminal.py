"""A command in a real pseudo terminal: type, wait for what it writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WAIT_S = 60.0


@dataclass
class Terminal:
    """`seen` is all that was written so far."""

    process: subprocess.Popen[bytes]
    screen: int
    seen: str = ""
    _read_to: int = 0
    _decoded: bytes = field(default=b"", repr=False)

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def line(self, text: str) -> None:
        self.type(text + "\r")

    def wait_for(self, text: str, wait_s: float = WAIT_S) -> str:
        """What is written up to and with `text`, from where the last wait ended."""
        give_up = time.monotonic() + wait_s
        while text not in self.seen[self._read_to :]:
            self._read_some(give_up - time.monotonic(), text)
        start, self._read_to = self._read_to, self.seen.index(text, self._read_to) + len(text)
        return self.seen[start : self._read_to]

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.type("\x03")

    def interrupt_until(self, text: str) -> str:
        """Ctrl-C at a prompt, pressed again where nothing follows: Python's readline does not notice one that comes
        just before it waits for the next key."""
        give_up = time.monotonic() + WAIT_S
        while True:
            self.interrupt()
            try:
                return self.wait_for(text, wait_s=5.0)
            except TimeoutError:
                if time.monotonic() > give_up:
                    raise

    def end(self) -> int:
        """Read until the command ends; its exit status."""
        with contextlib.suppress(EOFError):
            while True:
                self._read_some(WAIT_S, "the end")
        return self.process.wait(timeout=WAIT_S)

    def _read_some(self, wait_s: float, text: str) -> None:
        if wait_s <= 0 or not select.select([self.screen], [], [], wait_s)[0]:
            raise TimeoutError(f"waited for {text!r}; seen:\n{self.seen}")
        try:
            received = os.read(self.screen, 65_536)
        except OSError:  # Linux: the other side is closed
            received = b""
        if not received:
            raise EOFError(f"ended while waiting for {text!r}; seen:\n{self.seen}")
        self._decoded += received
        self.seen = self._decoded.decode("utf-8", "replace")


# A controlling terminal, and the signal not ignored, as it is below a shell's background jobs.
_READY_FOR_CTRL_C = (
    "import fcntl, os, signal, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


@contextlib.contextmanager
def terminal(
    command: Sequence[str], environment: Mapping[str, str], *, folder: Path, columns: int = 100, rows: int = 40
) -> Iterator[Terminal]:
    """The command, run in the folder, with a terminal as its standard input, output and error."""
    screen, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _READY_FOR_CTRL_C, *command],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    os.close(inner)
    try:
        yield Terminal(process, screen)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=WAIT_S)
        os.close(screen)
