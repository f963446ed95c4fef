"""A spinner with the time that has passed, on standard error, while the platform works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text


class Elapsed(ProgressColumn):
    """Whole seconds."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s", style="dim")


@contextmanager
def waiting(what: str, console: Console | None = None) -> Iterator[Callable[[], None]]:
    """Show it until the block ends, or what is yielded is called; nothing where standard error is no terminal."""
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
    with shown:
        shown.add_task(what, total=None)
        yield shown.stop
