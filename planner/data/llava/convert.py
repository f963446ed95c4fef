"""LLaVA-158K (`llava_instruct_158k.json`) as planner data: thoughts and empty actions are added (LLaVA-Plus, 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.data.desk import NO_TOOL
from planner.data.recipe import DataError
from planner.data.released import IMAGE_MARK, Sample

_MARK = "<image>"


def converted(path: Path) -> Iterator[Sample]:
    """The samples in LLaVA-Plus's form, each with `row` and `skills` as built data has them.

    Raises:
        DataError: the file is not LLaVA's.
    """
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(rows, list):
        raise DataError(f"{path} is not a list of samples.")
    for number, row in enumerate(rows):
        try:
            yield _sample(row)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: sample {number} is not in LLaVA's form ({error}).") from None


def _sample(row: dict[str, Any]) -> Sample:
    sample: Sample = {"id": str(row["id"])}
    if row.get("image"):
        sample["image"] = str(row["image"])
    return sample | {
        "conversations": [_turn(turn) for turn in row["conversations"]],
        "row": "llava_158k",
        "skills": [],
    }


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    text = str(turn["value"])
    if turn["from"] == "gpt":
        return {"from": "gpt", "thoughts": NO_TOOL, "actions": [], "value": text}
    if turn["from"] != "human":
        raise ValueError(f"a turn is from {turn['from']!r}")
    # LLaVA puts the picture before or after the first question; here it stands before.
    marks = text.count(_MARK)
    return {"from": "human", "value": IMAGE_MARK * marks + text.replace(_MARK, "").strip()}
