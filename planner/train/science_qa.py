"""ScienceQA (arXiv 2209.09513) as training samples, LLaVA's way: the reasoning first, then the answer.

Questions are asked in the very words in which `llava-plus eval` asks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.data.released import IMAGE_MARK, Sample
from planner.eval.benchmarks.choices import LETTERS
from planner.eval.benchmarks.science_qa import ScienceQa


def samples(folder: Path, split: str) -> list[Sample]:
    """One sample a problem; pictures are named by their paths.

    Raises:
        EvaluationError: a file of the data set is missing.
    """
    read = ScienceQa.read(folder, split)
    made: list[Sample] = []
    for question in read.questions():
        sample: Sample = {"id": question.id}
        text = question.text
        if question.image is not None:
            sample["image"] = str(question.image.resolve())
            text = IMAGE_MARK + text
        problem = read.problems[question.id]
        answer = {"from": "gpt", "thoughts": _reasoning(problem), "actions": [], "value": _answer(problem)}
        made.append(sample | {"conversations": [{"from": "human", "value": text}, answer]})
    return made


def _reasoning(problem: Mapping[str, Any]) -> str:
    """The lecture and the solution, as far as there are any."""
    parts = [str(problem.get(name) or "").strip() for name in ("lecture", "solution")]
    return "\n".join(part for part in parts if part)


def _answer(problem: Mapping[str, Any]) -> str:
    return f"The answer is {LETTERS[int(problem['answer'])]}."
