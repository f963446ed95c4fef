from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deploy.cli.results import result_lines
from deploy.cli.steps import step_lines
from llava_plus import Step, StepCall, ToolResult
from services.core.types import MaskRLE

SIZE = {"width": 100, "height": 50}
HALF = MaskRLE.from_array(np.arange(8).reshape(2, 4) < 4).model_dump(mode="json")
HANDLE = "img_" + "a" * 40


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (
            {
                "boxes": [[0.1, 0.2, 0.5, 1.0], [0, 0, 1, 1]],
                "texts": ["Fair", "Saturday"],
                "scores": [0.5, 1],
                "size": SIZE,
            },
            ["1  Fair      0.50  10,10 to 50,50", "2  Saturday  1.00  0,0 to 100,50"],
        ),
        ({"masks_rle": [HALF], "iou": [0.75], "size": SIZE}, ["1  0.75  50.0% of the picture"]),
        ({"masks_rle": [], "score": 0.0, "area": 0.0}, ["score: 0", "area: 0", "Nothing was found."]),
        ({"boxes": [], "phrases": [], "caption": "A pig."}, ["caption: A pig.", "Nothing was found."]),
        ({"tags": ["pig", "sky\x1b[2J"], "scores": [0.9, 0.81234]}, ["tags: pig, sky[2J", "scores: 0.9 0.812"]),
        (
            {"image_seg": HANDLE, "labels": [{"name": "sky", "id": 2, "area": 0.51234, "colour": [6, 230, 230]}]},
            ["labels 1: name sky, id 2, area 0.512, colour [6, 230, 230]"],
        ),
        (
            {"levels": [{"masks_rle": [HALF], "iou": [0.5, 0.25], "best": 0, "boxes": [[0, 0, 1, 1]]}]},
            ["levels 1: iou 0.5 0.25, best 0"],
        ),
        (
            {"retrieval_results": [{"caption": "a boat", "similarity": 0.31234, "url": None}]},
            ["retrieval results 1: caption a boat, similarity 0.312"],
        ),
    ],
)
def test_results_are_lines_for_a_person(result: dict[str, Any], lines: list[str]) -> None:
    assert list(result_lines(ToolResult(tool="t", result=result))) == lines


def test_a_plan_is_told_with_times_and_what_became_of_it() -> None:
    calls = [
        StepCall(
            skill="find", args={"caption": "pig"}, elapsed_ms=1234.0, result={"boxes": [[0, 0, 1, 1]]}, cached=True
        ),
        StepCall(skill="sam", args={"boxes": [[0.5] * 4] * 40}, error={"message": "No boxes."}),
        StepCall(skill="edit", result={"edited_image": HANDLE}),
    ]
    first, found, failed, done = step_lines(Step(thoughts="I look.", results=calls, planner_ms=800.0))
    assert first == "  plan, 0.8 s: I look."
    assert found == '    find(caption="pig"), 1.2 s: cached, 1 boxes'
    assert failed.endswith("...), 0.0 s: failed: No boxes.")
    assert len(failed) < 250
    assert done == "    edit(), 0.0 s: done"
    assert next(step_lines(Step(kind="all_tools", skills_ms=2000.0))) == "  before the plan, 2.0 s:"
