"""What stops the building or opening of an index: one line that says what to do."""

from __future__ import annotations


class RetrievalError(Exception):
    """The message is meant for the person who builds or configures the index."""
