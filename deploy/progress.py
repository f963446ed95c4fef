"""What the person at the terminal sees while components load: a live table, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

State = Literal["waiting", "loading", "ready", "failed", "stopping", "stopped"]

_STYLES: dict[State, str] = {
    "waiting": "dim",
    "loading": "yellow",
    "ready": "green",
    "failed": "bold red",
    "stopping": "yellow",
    "stopped": "dim",
}


@dataclass(slots=True)
class Row:
    """One component. `began` and `ended` are monotonic seconds."""

    state: State = "waiting"
    detail: str = ""
    began: float | None = None
    ended: float | None = None

    def elapsed_s(self, now: float) -> float | None:
        return None if self.began is None else (self.ended or now) - self.began


class Progress:
    """Components and their states; used as a context manager.

    Args:
        stream: a terminal gets one live table, anything else a line for each change.
        clock: monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._clock = clock
        self._started = clock()
        self._rows: dict[str, Row] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.end_table()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def expect(self, *components: str) -> None:
        """Show components that wait for others."""
        for component in components:
            self._rows.setdefault(component, Row())

    def set(self, component: str, state: State, detail: str = "") -> None:
        """Show a component's state; repeating the last one shows nothing new."""
        row = self._rows.setdefault(component, Row())
        if (row.state, row.detail) == (state, detail):
            return
        now = self._clock()
        if state == "loading" and row.state != "loading":
            row.began, row.ended = now, None
        if state in ("ready", "failed", "stopped"):
            row.ended = now
        row.state, row.detail = state, detail
        if self._live is None:
            self.say(f"{component:<16} {state:<8} {detail}".rstrip())

    def say(self, line: str) -> None:
        """A line of text, above the table if there is one."""
        prefix = "" if self._live is not None else f"{self.elapsed_s:6.1f}s  "
        self._console.print(Text(prefix + line))

    def end_table(self) -> None:
        """Leave the table as it is; what follows are lines."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def text(self, text: str) -> None:
        """A block without times, after the table."""
        self.end_table()
        self._console.print(Text(text))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for title in ("component", "state", "time", "detail"):
            table.add_column(title, justify="right" if title == "time" else "left", no_wrap=title != "detail")
        now = self._clock()
        for name, row in self._rows.items():
            elapsed = row.elapsed_s(now)
            time_text = "" if elapsed is None else f"{elapsed:.1f} s"
            table.add_row(name, Text(row.state, style=_STYLES[row.state]), time_text, Text(row.detail, style="dim"))
        return table
