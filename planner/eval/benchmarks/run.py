"""Runs one benchmark: answers, then scores, both kept so that a run that was cut goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.answers import Answerer, ModelAnswerer, Question, answers_to, settings_of
from planner.eval.benchmarks.endpoint import Endpoint
from planner.eval.benchmarks.files import read_json, read_lines
from planner.eval.benchmarks.gta import Gta
from planner.eval.benchmarks.llava_bench import LlavaBench
from planner.eval.benchmarks.mm_vet import MmVet
from planner.eval.benchmarks.science_qa import ScienceQa
from planner.eval.benchmarks.seed_bench import SeedBench
from planner.eval.benchmarks.tables import SCORES
from planner.eval.benchmarks.taskbench import TaskBench
from planner.eval.benchmarks.visit_bench import VisitBench
from planner.eval.command import EvaluationError
from planner.eval.gateway import GatewayClient
from planner.eval.journal import Journal

JUDGED: Mapping[str, float] = {
    "llava-bench-coco": 0.2,
    "llava-bench-wild": 0.2,
    "llava-bench-tools": 0.2,
    "mm-vet": 0.0,
    "visit-bench": 0.0,
    "science-qa": 0.0,
}
"""Benchmarks in which a second model takes part, with the temperature that they ask it at."""
NAMES = (*JUDGED, "seed-bench", "gta", "gta-end", "taskbench")


@dataclass(frozen=True)
class Run:
    """One model on one benchmark.

    Attributes:
        name: of the run, as the tables show it.
        data: folder of the published files.
        out: where answers, judgements and scores of this run are kept.
        given: a file of answers that there are already (JSON id to text, or JSONL with `question_id` and `text`).
        platform, model: what answers; `mode` is the platform's.
        judge: the second model.
        repeats: how often MM-Vet's answers are graded.
    """

    benchmark: str
    name: str
    data: Path
    out: Path
    given: Path | None = None
    platform: GatewayClient | None = None
    model: Endpoint | None = None
    mode: str | None = None
    judge: Endpoint | None = None
    repeats: int = 5
    at_once: int = 1
    tell: Callable[[int, int], None] = lambda done, total: None

    async def scored(self) -> dict[str, Any]:
        """The scores, which are also written to `out`.

        Raises:
            EvaluationError: files are missing, or nobody answers or judges.
        """
        if self.benchmark not in NAMES:
            raise EvaluationError(f"No benchmark is called {self.benchmark!r}. Known: {', '.join(NAMES)}.")
        if self.benchmark in JUDGED and self.judge is None:
            raise EvaluationError(f"{self.benchmark} needs a judge: --judge URL --judge-model NAME.")
        scores = await _RUNNERS[self.benchmark](self)
        self.out.mkdir(parents=True, exist_ok=True)
        kept = {"benchmark": self.benchmark, "name": self.name, "judge": self.judge and self.judge.model}
        text = json.dumps(kept | {"scores": scores}, indent=1, ensure_ascii=False)
        (self.out / SCORES).write_text(text + "\n", encoding="utf-8")
        return scores

    async def answers(self, questions: list[Question], who: Answerer | None = None, file: str = "") -> dict[str, str]:
        """Everything answered: from the file that is given, else by `who`, else by what is scored."""
        if self.given is not None and who is None:
            return _given(self.given, questions)
        answerer = who or self._answerer()
        journal = Journal(self.out / (file or "answers.jsonl"), settings_of(questions, file or self.name))
        return await answers_to(questions, answerer, journal, at_once=self.at_once, tell=self.tell)

    def _answerer(self) -> Answerer:
        from planner.eval.benchmarks.answers import PlatformAnswerer

        if self.platform is not None:
            return PlatformAnswerer(self.platform, self.mode)
        if self.model is not None:
            return ModelAnswerer(self.model)
        raise EvaluationError("Nobody answers: name a platform (--gateway), a model (--url), or a file (--answers).")

    @property
    def second(self) -> Endpoint:
        assert self.judge is not None, "checked before"
        return self.judge


async def _llava_bench(run: Run) -> dict[str, Any]:
    bench = LlavaBench.read(run.data)
    return await bench.score(await run.answers(bench.questions()), run.second)


async def _seed_bench(run: Run) -> dict[str, Any]:
    bench = SeedBench.read(run.data)
    return bench.score(await run.answers(bench.questions()))


async def _mm_vet(run: Run) -> dict[str, Any]:
    bench = MmVet.read(run.data)
    return await bench.score(await run.answers(bench.questions()), run.second, run.repeats)


async def _visit_bench(run: Run) -> dict[str, Any]:
    bench = VisitBench.read(run.data)
    scores = await bench.score(await run.answers(bench.questions()), run.name, run.second)
    ours = {"elo": scores["elo"].get(run.name), "matches": scores["matches"][run.name]}
    return ours | {"win": scores["win"].get(run.name), "all": scores}


async def _science_qa(run: Run) -> dict[str, Any]:
    """The model alone, the text-only model alone, and the two ensembles; the tables show the last one."""
    bench = ScienceQa.read(run.data)
    ours = await run.answers(bench.questions())
    theirs = await run.answers(bench.questions(pictures=False), ModelAnswerer(run.second), "text_only.jsonl")
    judged, asked = await bench.judged(ours, theirs, run.second)
    parts = {
        f"{run.name}": bench.score(ours),
        f"{run.second.model} (text only)": bench.score(theirs),
        f"{run.name} + {run.second.model} (complement)": bench.score(bench.complement(ours, theirs)),
        f"{run.name} + {run.second.model} (judge)": bench.score(judged),
    }
    for name, scores in parts.items():
        folder = run.out / re.sub(r"\W+", "_", name)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"benchmark": "science-qa", "name": name, "judge": run.second.model, "scores": scores}
        (folder / SCORES).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return parts[run.name] | {"ensembles": parts, "judged": asked}


async def _gta(run: Run) -> dict[str, Any]:
    if run.model is None:
        raise EvaluationError("gta is asked step by step of a model with tool calls: --url URL --model NAME.")
    return await Gta.read(run.data).step_by_step(run.model)


async def _gta_end(run: Run) -> dict[str, Any]:
    if run.platform is None:
        raise EvaluationError("gta-end is asked of a running platform: --gateway URL.")
    journal = Journal(run.out / "answers.jsonl", {"who": run.name, "mode": run.mode})
    return await Gta.read(run.data).end_to_end(run.platform, journal, run.mode)


async def _taskbench(run: Run) -> dict[str, Any]:
    bench = TaskBench.read(run.data)
    return bench.score(await run.answers(bench.questions()))


_RUNNERS: Mapping[str, Callable[[Run], Awaitable[dict[str, Any]]]] = {
    "llava-bench-coco": _llava_bench,
    "llava-bench-wild": _llava_bench,
    "llava-bench-tools": _llava_bench,
    "seed-bench": _seed_bench,
    "mm-vet": _mm_vet,
    "visit-bench": _visit_bench,
    "science-qa": _science_qa,
    "gta": _gta,
    "gta-end": _gta_end,
    "taskbench": _taskbench,
}


def _given(path: Path, questions: list[Question]) -> dict[str, str]:
    if path.suffix == ".jsonl":
        known = {str(line.get("question_id", line.get("id"))): str(line["text"]) for line in read_lines(path)}
    else:
        known = {str(name): str(text) for name, text in read_json(path).items()}
    missing = [question.id for question in questions if question.id not in known]
    if missing:
        raise EvaluationError(f"{path} has no answer to {len(missing)} questions, for example {missing[0]}.")
    return known
