"""How far a long piece of work is, and how long it takes yet."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[str], None]


def quiet(line: str) -> None:
    """A `Report` that says nothing."""
    del line


class Progress:
    """Reports a line now and then while work is done.

    Args:
        report: is given the lines.
        what: the work, for people.
        total: units of work in all.
        every_s: least time between two lines, seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        report: Report,
        what: str,
        total: int,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._what = what
        self._total = total
        self._every_s = every_s
        self._clock = clock
        self._started = self._told = clock()
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        now = self._clock()
        if now - self._told < self._every_s:
            return
        self._told = now
        left = (now - self._started) / self._done * (self._total - self._done)
        self._report(f"{self._what}: {self._done} of {self._total}, {left:.0f} s left")
