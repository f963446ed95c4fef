"""LLaVA-Bench: COCO (arXiv 2304.08485), In-the-Wild, and Tools (arXiv 2311.05437).

A judge that sees the picture only through its captions (and, for COCO, boxes) rates a reference answer, which comes
first, and the candidate's, from 1 to 10. The score is the candidate's mean as a percentage of the reference's. The
order is the benchmark's own and is not swapped.

Files: questions (`question_id`, `image`, `text`, `category`), reference answers (`question_id`, `text`), contexts
(`image`; `caption`, or `captions` and `instances`), and `rule.json` with a role and prompt for each category.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Question
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.files import found, picture, read_json, read_lines
from planner.eval.command import EvaluationError

SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
TRIES = 3
_SCORES = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*[, /]\s*(\d+(?:\.\d+)?)\s*$")


@dataclass(frozen=True)
class LlavaBench:
    """One of the three sets, read."""

    items: list[dict[str, Any]]
    references: dict[str, str]
    contexts: dict[str, str]
    rules: dict[str, dict[str, str]]
    folder: Path

    @classmethod
    def read(cls, folder: Path) -> LlavaBench:
        """Raises `EvaluationError` for what is missing."""
        items = read_lines(found(folder, "questions.jsonl", "qa90_questions.jsonl"))
        answers = read_lines(found(folder, "answers_gpt4.jsonl", "qa90_gpt4_answer.jsonl"))
        contexts = read_lines(found(folder, "context.jsonl", "caps_boxes_coco2014_val_80.jsonl"))
        return cls(
            items,
            {str(answer["question_id"]): str(answer["text"]) for answer in answers},
            {str(context["image"]): _context(context) for context in contexts},
            read_json(found(folder, "rule.json")),
            folder,
        )

    def questions(self) -> list[Question]:
        return [
            Question(str(item["question_id"]), str(item["text"]), picture(self.folder, str(item["image"])))
            for item in self.items
        ]

    async def score(self, answers: dict[str, str], judge: Endpoint) -> dict[str, Any]:
        """Relative scores by category and over all, and how many reviews could not be read."""
        pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        unread = 0
        for item in self.items:
            rated = await self._rated(item, answers[str(item["question_id"])], judge)
            if rated is None:
                unread += 1
                continue
            pairs[str(item["category"])].append(rated)
            pairs["all"].append(rated)
        return {"scores": {name: _relative(rated) for name, rated in pairs.items()}, "unread": unread}

    async def _rated(self, item: dict[str, Any], answer: str, judge: Endpoint) -> tuple[float, float] | None:
        rule = self._rule(str(item["category"]))
        role = rule.get("role", "Assistant")
        both = (self.references[str(item["question_id"])], answer)
        said = "".join(f"[{role} {n}]\n{text}\n\n[End of {role} {n}]\n\n" for n, text in enumerate(both, start=1))
        context = self.contexts[str(item["image"])]
        content = f"[Context]\n{context}\n\n[Question]\n{item['text']}\n\n{said}[System]\n{rule['prompt']}\n\n"
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
        for sample in range(TRIES):
            scores = _SCORES.match((await judge.text(messages, sample=sample)).strip().split("\n")[0])
            if scores:
                return float(scores[1]), float(scores[2])
        return None

    def _rule(self, category: str) -> dict[str, str]:
        for name in (f"llava_bench_{category}", category):
            if name in self.rules:
                return self.rules[name]
        raise EvaluationError(f"{self.folder}/rule.json has no rule for the category {category!r}.")


def _context(context: dict[str, Any]) -> str:
    if "instances" in context:
        boxes = "\n".join(f"{one['category']}: {one['bbox']}" for one in context["instances"])
        return "\n".join(context["captions"]) + f"\n\n{boxes}"
    caption = context["caption"]
    return "\n".join(caption) if isinstance(caption, list) else str(caption)


def _relative(rated: list[tuple[float, float]]) -> dict[str, float]:
    reference = sum(pair[0] for pair in rated) / len(rated)
    candidate = sum(pair[1] for pair in rated) / len(rated)
    relative = 100 * candidate / reference if reference else 0.0
    return {"relative": relative, "reference": 10 * reference, "candidate": 10 * candidate, "count": len(rated)}
