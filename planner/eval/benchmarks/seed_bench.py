"""SEED-Bench (arXiv 2307.16125): questions with four choices in nine dimensions of pictures.

File: `SEED-Bench.json` with `questions` (`question_id`, `question`, `choice_a` to `choice_d`, `answer`, `data_id`,
`data_type`, `question_type_id`) and `question_type` (name to id). Questions about videos are left out, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.choices import LETTERS, chosen, listed
from planner.eval.benchmarks.files import found, picture, read_json
from planner.eval.figures import Share


@dataclass(frozen=True)
class SeedBench:
    items: list[dict[str, Any]]
    types: dict[int, str]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> SeedBench:
        """Raises `EvaluationError` for what is missing."""
        data = read_json(found(folder, "SEED-Bench.json"))
        items = [item for item in data["questions"] if item.get("data_type", "image") == "image"]
        return cls(items, {int(number): name for name, number in data["question_type"].items()}, folder)

    def questions(self) -> list[Question]:
        return [
            Question(
                str(item["question_id"]),
                f"{item['question']}\n{listed(_choices(item))}\nAnswer with the letter of the right choice.",
                picture(self.folder, str(item["data_id"])),
            )
            for item in self.items
        ]

    def score(self, answers: dict[str, str]) -> dict[str, Any]:
        """Accuracy by dimension (its number) and over all; an answer that means no choice is wrong."""
        right: dict[str, list[bool]] = {}
        unread = 0
        for item in self.items:
            choice = chosen(answers[str(item["question_id"])], _choices(item))
            unread += choice is None
            good = choice is not None and LETTERS[choice] == str(item["answer"]).strip().upper()
            for name in (str(item["question_type_id"]), "all"):
                right.setdefault(name, []).append(good)
        scores = {name: Share.of(some).to_json() for name, some in right.items()}
        return {"scores": scores, "dimensions": self.types, "unread": unread}


def _choices(item: dict[str, Any]) -> list[str]:
    return [str(item[f"choice_{letter}"]) for letter in "abcd"]
