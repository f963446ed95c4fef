"""The chat's input line: editing, history that outlives the chat, and completion of commands and paths."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HISTORY_MAX = 1_000


@contextlib.contextmanager
def edited_lines(history: Path, commands: Sequence[str]) -> Iterator[None]:
    """Within, `input()` has history and completion. The history file is for its owner only."""
    try:
        import readline
    except ImportError:  # a Python without it: lines are typed without editing
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(HISTORY_MAX)
    readline.set_completer_delims(" \t\n")
    readline.set_completer(_Completer(commands, readline.get_line_buffer))
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(None)
        with contextlib.suppress(OSError):
            history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            readline.write_history_file(history)
            history.chmod(0o600)


class _Completer:
    """Commands at the start of a line, paths after them."""

    def __init__(self, commands: Sequence[str], line: Callable[[], str]) -> None:
        self._commands = commands
        self._line = line
        self._found: list[str] = []

    def __call__(self, text: str, state: int) -> str | None:
        if state == 0:
            self._found = completions(text, self._line(), self._commands)
        return self._found[state] if state < len(self._found) else None


def completions(text: str, line: str, commands: Sequence[str]) -> list[str]:
    """What the word that is typed may become.

    Args:
        text: the word so far; line: all of the line.
    """
    if line.startswith("/") and " " not in line:
        return [command + " " for command in commands if command.startswith(text)]
    if not line.startswith("/"):
        return []
    found = sorted(glob.glob(f"{glob.escape(os.path.expanduser(text))}*"))
    return [path + ("/" if os.path.isdir(path) else " ") for path in found]
