"""Reading the files of benchmarks; what is missing or damaged is said by name."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.eval.command import EvaluationError


def found(folder: Path, *names: str) -> Path:
    """The first of the names that there is in the folder."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise EvaluationError(f"{folder} has no {' or '.join(names)}: put the benchmark's published files there.")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EvaluationError(f"{path} is not JSON: {error}") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A JSONL file."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        return [dict(json.loads(line)) for line in lines]
    except ValueError as error:
        raise EvaluationError(f"{path} is not JSON lines: {error}") from None


def read_csv(path: Path) -> list[dict[str, str]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def picture(folder: Path, name: str) -> Path:
    """A picture of the benchmark, in `images` or in the folder itself; COCO's names have a prefix in places."""
    base = Path(name).name
    for one in (folder / "images" / base, folder / base, folder / name, folder / "images" / f"COCO_val2014_{base}"):
        if one.is_file():
            return one
    raise EvaluationError(f"{folder}/images has no {base}.")


def column(row: dict[str, str], names: Sequence[str]) -> str:
    """The first of the named columns that has something in it, else ""."""
    return next((row[name] for name in names if row.get(name)), "")
