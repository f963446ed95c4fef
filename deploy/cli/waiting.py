"""A spinner with the time that has passed, on standard error, while the platform works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

from deploy.cli.interrupts import interruptible


class Elapsed(ProgressColumn):
    """Whole seconds."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s", style="dim")


class Waiting:
    """A spinner that is shown."""

    def __init__(self, shown: Progress, task: TaskID) -> None:
        self._shown = shown
        self._task = task

    def say(self, what: str) -> None:
        """What is waited for now."""
        self._shown.update(self._task, description=what)

    def end(self) -> None:
        """Take it away, before something else is written."""
        self._shown.stop()


@contextmanager
def waiting(what: str, console: Console | None = None) -> Iterator[Waiting]:
    """Show it until the block ends, or is told to; nothing where standard error is no terminal.

    Ctrl-C ends the block.
    """
    console = console or Console(stderr=True)
    # Rich would send standard output's text to standard error.
    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        Elapsed(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
    with interruptible(), shown:
        yield Waiting(shown, shown.add_task(what, total=None))
