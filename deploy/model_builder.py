"""Builds the embedded planner's model folder in a process of its own: `python -m deploy.model_builder CACHE`."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

from deploy.cluster import Event, claim_stdout

STALE_S = 3600.0


def sweep(cache_dir: Path) -> None:
    """Remove what killed builds left: unfinished folders that have not grown for an hour."""
    for folder in cache_dir.glob(".planner-*"):
        try:
            stale = time.time() - folder.stat().st_mtime > STALE_S
        except OSError:
            continue
        if stale:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    # As an exception, so that a build that is called off removes its folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    events = claim_stdout()

    def say(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    from planner.model import ensure_embedded

    cache_dir = Path(sys.argv[1])
    sweep(cache_dir)
    folder = ensure_embedded(
        cache_dir,
        progress=lambda detail: say(Event(about="planner model", state="loading", detail=detail)),
    )
    say(Event(about="planner model", state="ready", detail=str(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
