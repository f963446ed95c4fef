"""Ctrl-C ends what a command waits for, whenever it is pressed.

Python only notes a signal, and raises `KeyboardInterrupt` when the main thread runs Python code again. A signal that
comes just before that thread blocks in a system call, or is received by another thread, is noted and waits with it: for
as long as the answer takes. And what is raised inside a finaliser or a callback is printed and dropped.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WAKE_S = 0.1
_AGAIN_S = 2.0
# It does nothing where nobody asked for it, and an interrupted system call is begun again by itself.
_WAKE_UP = signal.SIGURG


@contextmanager
def interruptible(again_s: float = _AGAIN_S) -> Iterator[None]:
    """A Ctrl-C raises `KeyboardInterrupt` in the block at once, and again until the block has ended.

    Where interrupts are not Python's own matter (another thread, a background job, a block inside another), it does
    nothing.

    Args:
        again_s: how long the block may take to end before the interrupt counts as swallowed, seconds.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupts = _Interrupts(again_s)
    with interrupts.watched():
        yield
    if interrupts.late:
        raise KeyboardInterrupt


class _Interrupts:
    """Raises those that come inside the block; `late` says that one came while the block was being left."""

    def __init__(self, again_s: float) -> None:
        self._again_s = again_s
        self._raised_at: float | None = None
        self._over = threading.Event()
        self.late = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        noted, note = os.pipe()
        os.set_blocking(note, False)
        watcher = threading.Thread(target=self._watch, args=(noted, threading.get_ident()), daemon=True)
        watcher.start()
        wake_up = signal.signal(_WAKE_UP, self._woken)
        earlier = signal.set_wakeup_fd(note, warn_on_full_buffer=False)
        interrupt = signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield
        finally:
            self._over.set()
            signal.set_wakeup_fd(earlier)
            os.close(note)
            watcher.join()
            os.close(noted)
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(_WAKE_UP, wake_up)

    def _watch(self, noted: int, main_thread: int) -> None:
        while signal.SIGINT not in (numbers := os.read(noted, 64)):
            if not numbers:
                return
        while not self._over.wait(_WAKE_S):
            signal.pthread_kill(main_thread, _WAKE_UP)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._over.is_set():
            self.late = True
            return
        self._raised_at = time.monotonic()
        raise KeyboardInterrupt

    def _woken(self, number: int, frame: FrameType | None) -> None:
        """A system call that was interrupted lets Python raise what it has noted; what was raised may be lost."""
        if self._raised_at is not None and time.monotonic() - self._raised_at > self._again_s:
            self._interrupted(number, frame)
