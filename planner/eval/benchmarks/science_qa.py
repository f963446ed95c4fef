"""ScienceQA (arXiv 2209.09513) as LLaVA scores it: reasoning first, then "The answer is X."; with its two ensembles.

Files: `problems.json` (id to `question`, `choices`, `answer`, `hint`, `image`, `grade`, `subject`) and
`pid_splits.json`. A second, text-only model answers too; LLaVA (arXiv 2304.08485, section 5.2) joins the two in two
ways: *complement* takes the second model's answer where it has one, and *judge* asks the second model once more with
both answers where they differ.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.choices import LETTERS, listed
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.files import found, picture, read_json
from planner.eval.command import EvaluationError
from planner.eval.figures import Share

COLUMNS = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Average")
_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_ANSWER = re.compile(r"The answer is ([A-J])\.")
_FORM = 'First explain your reasoning. Then end with "The answer is X.", where X is the letter of the right choice.'


@dataclass(frozen=True)
class ScienceQa:
    problems: dict[str, dict[str, Any]]
    folder: Path
    split: str

    @classmethod
    def read(cls, folder: Path, split: str = "test") -> ScienceQa:
        """Raises `EvaluationError` for what is missing."""
        problems = read_json(found(folder, "problems.json"))
        splits = read_json(found(folder, "pid_splits.json"))
        if split not in splits:
            raise EvaluationError(f"ScienceQA has no split {split!r}: it has {', '.join(sorted(splits))}.")
        ids = splits[split]
        return cls({str(name): problems[str(name)] for name in ids}, folder, split)

    def questions(self, *, pictures: bool = True) -> list[Question]:
        """Without pictures for a model that reads only text."""
        return [
            Question(
                name, f"{_text(problem)}\n{_FORM}", self._picture(name) if pictures and problem.get("image") else None
            )
            for name, problem in self.problems.items()
        ]

    def _picture(self, name: str) -> Path:
        # `trainval` and `minitest` are no folders: a problem says which of the three it belongs to.
        split = str(self.problems[name].get("split", self.split))
        inside = self.folder / "images" / split / name / str(self.problems[name]["image"])
        return inside if inside.is_file() else picture(self.folder, f"{name}/{self.problems[name]['image']}")

    def score(self, answers: Mapping[str, str]) -> dict[str, Any]:
        """Accuracy by the benchmark's columns; what states no answer is guessed, as the benchmark does."""
        letters = {name: stated(answers[name]) for name in self.problems}
        right: dict[str, list[bool]] = defaultdict(list)
        for name, problem in self.problems.items():
            good = _index(name, letters[name], problem) == int(problem["answer"])
            for column in _columns(problem):
                right[column].append(good)
        scores = {column: Share.of(right[column]).to_json() for column in COLUMNS if right[column]}
        return {"scores": scores, "unread": sum(letter is None for letter in letters.values())}

    def complement(self, ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
        """The text-only model's answers, ours where it has none."""
        return {name: theirs[name] if stated(theirs[name]) else ours[name] for name in self.problems}

    async def judged(
        self, ours: Mapping[str, str], theirs: Mapping[str, str], judge: Endpoint
    ) -> tuple[dict[str, str], int]:
        """Where the two differ, what the text-only model says when it sees both; and how often it was asked."""
        final, asked = {}, 0
        for name, problem in self.problems.items():
            final[name] = ours[name]
            if stated(ours[name]) == stated(theirs[name]):
                continue
            asked += 1
            content = (
                f"{_text(problem)}\n\nTwo answers were given.\nFirst: {ours[name]}\nSecond: {theirs[name]}\n\n"
                f"Decide which answer is right, or give another one. {_FORM}"
            )
            said = await judge.text([{"role": "user", "content": content}])
            final[name] = said if stated(said) else ours[name]
        return final, asked


def stated(answer: str) -> str | None:
    """The letter of "The answer is X.", None where it is not said exactly once."""
    found_ = _ANSWER.findall(answer)
    return found_[0] if len(found_) == 1 else None


def _text(problem: Mapping[str, Any]) -> str:
    hint = f"Context: {problem['hint']}\n" if problem.get("hint") else ""
    return f"{hint}{problem['question']}\n{listed(problem['choices'])}"


def _index(name: str, letter: str | None, problem: Mapping[str, Any]) -> int:
    count = len(problem["choices"])
    if letter is None or LETTERS.index(letter) >= count:
        return random.Random(name).randrange(count)
    return LETTERS.index(letter)


def _columns(problem: Mapping[str, Any]) -> list[str]:
    grade = int(str(problem["grade"]).removeprefix("grade"))
    columns = [_SUBJECTS[problem["subject"]], "G1-6" if grade <= 6 else "G7-12", "Average"]
    columns += ["TXT"] if problem.get("hint") else []
    columns += ["IMG"] if problem.get("image") else []
    return columns + ([] if problem.get("hint") or problem.get("image") else ["NO"])
