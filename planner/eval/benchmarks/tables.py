"""Scores of several runs in the columns of the papers' tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.eval.benchmarks.mm_vet import CAPABILITIES
from planner.eval.benchmarks.science_qa import COLUMNS
from planner.eval.figures import table

SCORES = "scores.json"
ROWS = (
    "LLaVA",
    "LLaVA (Tools in Test)",
    "LLaVA-Plus (All Tools)",
    "LLaVA-Plus (Fly)",
    "LLaVA-Plus (Fly) (no thoughts)",
    "GPT4Tools",
    "LLaVA-7B",
    "LLaVA-Plus-7B (All Tools)",
    "LLaVA-Plus-13B (All Tools, V1.3, 336px)",
    "LLaVA-Plus (13B)",
    "LLaVA (13B)",
)
"""The rows of arXiv 2311.05437 that are LLaVA's own: of Tables 4 and 5, of Table 6, of Table 7, each in its order. Runs
with other names follow."""
_CATEGORIES = {"conv": "Conv.", "detail": "Detail", "complex": "Reasoning", "all": "All"}
_TOOLS = {"grounding": "Grounding", "tagging": "Tagging", "caption": "Caption", "ocr": "OCR", "all": "All"}
_SEED = {
    "1": "Scene",
    "2": "Identity",
    "3": "Attribute",
    "4": "Location",
    "5": "Counting",
    "6": "Spatial",
    "7": "Interact.",
    "8": "Reason.",
    "9": "Text",
    "all": "Average",
}
_MM_VET = {"rec": "Rec", "ocr": "OCR", "know": "Knowledge", "gen": "Generation", "spat": "Spatial", "math": "Math"}


def collected(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """All scores under a folder: benchmark, name of the run, scores."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(folder.rglob(SCORES)):
        data = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(data["benchmark"], {})[data["name"]] = data["scores"]
    return found


def tables(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown: LLaVA-Plus' Tables 4 to 7 first, then ScienceQA, GTA and TaskBench, each if there are scores."""
    parts = []
    for title, benchmark, head, cells in _TABLES:
        runs = scores.get(benchmark, {})
        if runs:
            rows = [[name, *cells(runs[name])] for name in _ordered(runs)]
            parts.append(f"### {title}\n\n{table(['', *head], rows)}")
    return "\n\n".join(parts) + "\n" if parts else "No scores yet.\n"


def _ordered(runs: Mapping[str, Any]) -> list[str]:
    return [name for name in ROWS if name in runs] + sorted(runs.keys() - set(ROWS))


def _llava(columns: Mapping[str, str]) -> Callable[[Mapping[str, Any]], Sequence[object]]:
    return lambda scores: [_at(scores, "scores", name, "relative") for name in columns]


def _at(scores: Mapping[str, Any], *path: str) -> Any:
    value: Any = scores
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _shares(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[object]]:
    """In percent with two decimals, as Table 4b and ScienceQA's have them."""

    def cells(scores: Mapping[str, Any]) -> list[object]:
        found = [_at(scores, "scores", name, "share") for name in names]
        return [None if share is None else f"{100.0 * share:.2f}" for share in found]

    return cells


def _mm_vet(scores: Mapping[str, Any]) -> list[object]:
    total = f"{scores['scores']['total']:.1f} ± {scores['deviation']:.1f}"
    return [*(_at(scores, "scores", name) for name in CAPABILITIES), total]


def _visit(scores: Mapping[str, Any]) -> list[object]:
    win = scores["win"] or {}
    return [scores["elo"], scores["matches"], f"{100 * win['share']:.2f}% ({win['total']})" if win else None]


def _named(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[object]]:
    return lambda scores: [scores.get(name) for name in names]


_GTA_STEP, _GTA_END = ("InstAcc", "ToolAcc", "ArgAcc", "SummAcc"), ("P. F1", "O. F1", "L. F1", "C. F1", "AnsAcc")
_TASKBENCH = ("R1", "R2", "n-F1", "e-F1", "t-F1", "v-F1")
_TABLES: tuple[tuple[str, str, Sequence[str], Callable[[Mapping[str, Any]], Sequence[object]]], ...] = (
    ("Table 4a: LLaVA-Bench (COCO)", "llava-bench-coco", tuple(_CATEGORIES.values()), _llava(_CATEGORIES)),
    ("Table 4a: LLaVA-Bench (In-the-Wild)", "llava-bench-wild", tuple(_CATEGORIES.values()), _llava(_CATEGORIES)),
    ("Table 4b: SEED-Bench", "seed-bench", tuple(_SEED.values()), _shares(tuple(_SEED))),
    ("Table 5: LLaVA-Bench (Tool Use)", "llava-bench-tools", tuple(_TOOLS.values()), _llava(_TOOLS)),
    ("Table 6: MM-Vet", "mm-vet", (*_MM_VET.values(), "Total"), _mm_vet),
    ("Table 7: VisIT-Bench", "visit-bench", ("Elo", "Matches", "Win (#Ratings)"), _visit),
    ("ScienceQA", "science-qa", COLUMNS, _shares(COLUMNS)),
    ("GTA, step by step", "gta", _GTA_STEP, _named(_GTA_STEP)),
    ("GTA, end to end", "gta-end", _GTA_END, _named(_GTA_END)),
    ("TaskBench", "taskbench", _TASKBENCH, _named(_TASKBENCH)),
)
