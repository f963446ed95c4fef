"""Child processes of the supervisor: own session (so Ctrl-C reaches the supervisor alone), a log, a bounded stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from deploy.errors import ComponentFailed
from deploy.processes import tail

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Child:
    """A running component.

    Attributes:
        name: as the person at the terminal knows it.
        log: where its output goes.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, talks: bool = False
    ) -> Child:
        """Start a process that is told to end when the supervisor dies.

        Args:
            talks: keep its standard input and output as pipes for `send` and `lines`.
        """
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=env,
                stdin=asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if talks else output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def send(self, line: str) -> None:
        """Write a line to its standard input; a process that is gone is found elsewhere."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()

    async def lines(self) -> AsyncIterator[str]:
        """What it writes to standard output, until it closes it."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            yield line.decode(errors="replace").rstrip("\n")

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, grace_s: float, hasten: asyncio.Event | None = None, *, ask: bool = True) -> None:
        """SIGTERM, and SIGKILL when it has not ended after `grace_s`, or once `hasten` is set.

        Args:
            ask: False when it has been told to end in another way.
        """
        if not self.running:
            return
        if ask:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        waits = [asyncio.ensure_future(self._process.wait())]
        if hasten is not None:
            waits.append(asyncio.ensure_future(hasten.wait()))
        await asyncio.wait(waits, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def death(self) -> ComponentFailed:
        """Say how it ended, with the last lines of its log."""
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
        return ComponentFailed(f"The {self.name} died ({how}). Its log: {self.log}", tail(self.log))


def _end_with_parent(parent: int) -> None:
    # Between fork and exec: the kernel sends SIGTERM when the supervisor is gone, even by SIGKILL.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
