"""`python -m planner.train CONFIG`: run a training recipe."""

from __future__ import annotations

import sys
from pathlib import Path

from planner.train.recipe import main

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m planner.train CONFIG.yaml")
    main(Path(sys.argv[1]))
