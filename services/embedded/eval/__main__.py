"""`python -m services.embedded.eval`: the evaluation without the rest of the platform."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from services.embedded.eval.command import PAINTED, EvalRequest, EvaluationError, run
from services.embedded.eval.splits import SCENES_IN_STYLE, SCENES_UNSEEN


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.embedded.eval", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="SKILL", help="Score this skill alone; repeats.")
    parser.add_argument("--scenes", type=int, default=SCENES_IN_STYLE, help="Held-out scenes in style.")
    parser.add_argument("--unseen", type=int, default=SCENES_UNSEEN, help="Held-out scenes in the unseen style.")
    parser.add_argument("--painted", type=int, default=PAINTED, help="Pictures asked of each skill that paints.")
    parser.add_argument("--world", type=Path, help="Folder where rendered scenes are kept.")
    parser.add_argument("--runs", type=Path, help="Folder of runs; results are kept in eval/ there.")
    parser.add_argument("--docs", type=Path, help="Folder that the report is written to.")
    parser.add_argument("--fresh", action="store_true", help="Score again what was scored already.")
    given = vars(parser.parse_args())
    try:
        page = run(EvalRequest(**(given | {"only": tuple(given["only"])})), lambda line: print(line, flush=True))
    except EvaluationError as error:
        sys.exit(str(error))
    print(page)


if __name__ == "__main__":
    main()
