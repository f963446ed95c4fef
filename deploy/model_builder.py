"""Builds the embedded planner's model folder in a process of its own: `python -m deploy.model_builder CACHE`."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.cluster import Event, claim_stdout


def main() -> int:
    events = claim_stdout()

    def say(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    from planner.model import ensure_embedded

    folder = ensure_embedded(
        Path(sys.argv[1]),
        progress=lambda detail: say(Event(about="planner model", state="loading", detail=detail)),
    )
    say(Event(about="planner model", state="ready", detail=str(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
