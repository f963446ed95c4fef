"""MM-Vet (arXiv 2308.02490): open questions, each needing some of six capabilities, graded by a judge from 0 to 1.

Files: `mm-vet.json` (id to `imagename`, `question`, `answer`, `capability`) and, for figures that compare with those
published, the benchmark's own few-shot prompt as `prompt.txt`. Without it the prompt here is used, in its form.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.files import found, picture, read_json

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
PROMPT = """Grade a prediction against the ground truth with a number between 0.0 (wrong) and 1.0 (right), in steps of \
0.1. Where the ground truth has <AND>, every part of it is needed for 1.0; where it has <OR>, one part is enough. Give \
the number alone.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
Which two fruits lie on the table? | pear <AND> plum | There is a pear. | 0.5
Which two fruits lie on the table? | pear <AND> plum | A plum and a pear. | 1.0
What is the shop called? | Rosa's <OR> Rosas | It is called Rosas. | 1.0
What is the shop called? | Rosa's <OR> Rosas | A flower shop. | 0.0
"""
TRIES = 5
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class MmVet:
    items: dict[str, dict[str, Any]]
    prompt: str
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> MmVet:
        """Raises `EvaluationError` for what is missing."""
        own = folder / "prompt.txt"
        prompt = own.read_text(encoding="utf-8") if own.exists() else PROMPT
        return cls(read_json(found(folder, "mm-vet.json")), prompt, folder)

    def questions(self) -> list[Question]:
        return [
            Question(name, str(item["question"]), picture(self.folder, str(item["imagename"])))
            for name, item in self.items.items()
        ]

    async def score(self, answers: dict[str, str], judge: Endpoint, runs: int = 5) -> dict[str, Any]:
        """Mean grades in per cent by capability and over all, with the deviation of the total between runs."""
        grades: dict[str, list[float]] = defaultdict(list)
        totals, unread = [], 0
        for run in range(runs):
            total = []
            for name, item in self.items.items():
                grade = await self._grade(item, answers[name], judge, run)
                unread += grade is None
                total.append(grade or 0.0)
                for capability in set(item["capability"]):
                    grades[capability].append(grade or 0.0)
            totals.append(100 * statistics.fmean(total))
        scores = {name: 100 * statistics.fmean(some) for name, some in grades.items()}
        scores["total"] = statistics.fmean(totals)
        return {"scores": scores, "deviation": statistics.pstdev(totals), "runs": totals, "unread": unread}

    async def _grade(self, item: dict[str, Any], answer: str, judge: Endpoint, run: int) -> float | None:
        truth = str(item["answer"]).replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
        line = " | ".join([str(item["question"]), truth, " ".join(answer.split()), ""])
        for attempt in range(TRIES):
            again = "\nPredict the correctness of the answer (digit): " if attempt else ""
            messages = [{"role": "user", "content": f"{self.prompt}\n{line}{again}"}]
            # As the benchmark has it: a grade that cannot be read is asked for again, more freely each time.
            temperature = 0.5 * attempt if attempt else None
            said = await judge.text(messages, sample=run * TRIES + attempt, temperature=temperature)
            number = _NUMBER.match(said.strip())
            if number and 0 <= float(number[0]) <= 1:
                return float(number[0])
        return None
