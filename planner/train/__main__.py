"""`python -m planner.train CONFIG`: what `accelerate launch` starts on every device."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from planner.train.config import ConfigError, TrainConfig
from planner.train.recipe import main

if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m planner.train CONFIG.yaml")
    first = os.environ.get("RANK", "0") == "0"
    try:
        main(TrainConfig.load(Path(sys.argv[1])), lambda line: print(line, flush=True) if first else None)
    except ConfigError as error:
        raise SystemExit(str(error)) from None
