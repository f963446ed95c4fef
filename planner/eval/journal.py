"""Results kept one by one, so that a scoring run that was cut goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_SETTINGS = "settings"


class JournalError(ValueError):
    """A journal cannot be continued; the message says what to do."""


class Journal:
    """A JSONL file: the run's settings first, then one result a line under its id.

    Args:
        path: created with its folder.
        settings: what the results depend on; a journal of other settings is not mixed with.
        fresh: forget what is there.

    Raises:
        JournalError: the file holds results of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self._path = path
        self.results: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(dict(settings)))
        if path.exists() and not fresh:
            lines = list(_read(path))
            if lines and lines[0].get(_SETTINGS) != wanted:
                raise JournalError(f"{path} holds results of other settings. Add --fresh, or choose another folder.")
            self.results = {str(line["id"]): line for line in lines[1:]}
        else:
            self._write({_SETTINGS: wanted}, mode="w")
        if not path.stat().st_size:
            self._write({_SETTINGS: wanted}, mode="w")

    def __contains__(self, key: str) -> bool:
        return key in self.results

    def keep(self, key: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Store a result at once; it is on disk when this returns."""
        line = {"id": key} | dict(result)
        self._write(line, mode="a")
        self.results[key] = line
        return line

    def _write(self, line: Mapping[str, Any], mode: str) -> None:
        with self._path.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def fingerprint(value: Any) -> str:
    """A short name of any JSON value, for settings and caches."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines; a line that was cut while it was written is dropped from the file."""
    whole = bytearray()
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        whole += line
        yield value
    path.write_bytes(bytes(whole))
