"""`python -m services.embedded.training NAME`: a run without the rest of the platform, for example on a GPU machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from services.embedded.training.command import TrainingError, TrainRequest, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.embedded.training", description=__doc__)
    parser.add_argument("name", help="The recipe.")
    parser.add_argument("--world", type=Path, help="Folder with rendered scenes in train/ and dev/.")
    parser.add_argument("--runs", type=Path, help="Folder of runs; the run goes on where it was.")
    parser.add_argument("--device", default="cpu", help="torch device, for example cuda.")
    parser.add_argument("--workers", type=int, default=1, help="Loader processes.")
    parser.add_argument(
        "--minutes", type=float, help="Training time of the whole run; the learning rate falls by then."
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="Change a setting.")
    parser.add_argument("--no-publish", action="store_true", help="Leave the package's checkpoint as it is.")
    parser.add_argument(
        "--from-published", action="store_true", help="Where no run was cut, go on from the package's checkpoint."
    )
    given = parser.parse_args()
    request = TrainRequest(
        name=given.name,
        world=given.world,
        runs=given.runs,
        device=given.device,
        workers=given.workers,
        minutes=given.minutes,
        settings=tuple(given.set),
        publish=not given.no_publish,
        from_published=given.from_published,
    )
    try:
        run(request)
    except TrainingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
