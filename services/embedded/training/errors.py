"""What keeps a run from starting or going on."""

from __future__ import annotations


class RunError(RuntimeError):
    """The run cannot start or go on as asked; the message says what to do."""
