"""The report of a data set: counts, refused samples, duplicates, overlap with evaluation sets, samples to look at."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.data.build import DATA, RECIPE, evaluation_requests
from planner.data.duplicates import near_duplicates
from planner.data.recipe import DataError
from planner.data.released import Sample
from planner.data.rows import ROWS
from planner.data.validation import normalised_request

PAGE = "report.html"
FIGURES = "report.json"
_SAMPLES_A_ROW = 6
_PAIRS_SHOWN = 15
_LIKENESS = 0.8


@dataclass
class Figures:
    """What is counted.

    Attributes:
        refused: tries that came to nothing, by row and reason.
        repeated: requests that an earlier sample has word for word.
        alike: different requests that share most of their runs of letters.
        evaluation: requests of evaluation sets that one of ours is like (the same ones are refused while building).
    """

    samples: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    skills: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    alike: list[tuple[str, str, float]] = field(default_factory=list)
    evaluation: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        return sum(count - 1 for count in self.requests.values())

    def to_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "rows": dict(self.rows.most_common()),
            "skills": dict(self.skills.most_common()),
            "questions_a_sample": {str(count): number for count, number in sorted(self.turns.items())},
            "refused": dict(self.refused.most_common()),
            "different_requests": len(self.requests),
            "repeated_requests": self.repeated,
            "near_duplicate_pairs": len(self.alike),
            "like_evaluation": [{"ours": one, "theirs": other} for one, other, _ in self.evaluation],
        }


def write_report(folder: Path) -> Path:
    """Count what `folder` holds; writes `report.json` and the page, and returns the page.

    Raises:
        DataError: it holds no built data.
    """
    if not (folder / DATA).is_file():
        raise DataError(f"{folder} holds no built data: run `llava-plus data build` first.")
    shown: dict[str, list[Sample]] = {}
    figures = counted(folder, shown)
    (folder / FIGURES).write_text(json.dumps(figures.to_json(), indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page(folder.name, figures, shown), encoding="utf-8")
    return folder / PAGE


def counted(folder: Path, shown: dict[str, list[Sample]]) -> Figures:
    """The figures of a folder's samples; the first samples of each row go into `shown`."""
    figures = Figures()
    for sample in _samples(folder):
        figures.samples += 1
        figures.rows[sample["row"]] += 1
        figures.skills.update(sample["skills"])
        questions = list(_questions(sample))
        figures.turns[len(questions)] += 1
        figures.requests.update(normalised_request(question) for question in questions)
        if len(shown.setdefault(sample["row"], [])) < _SAMPLES_A_ROW:
            shown[sample["row"]].append(sample)
    for path in sorted(folder.glob("refused-*.json")):
        figures.refused.update(json.loads(path.read_text(encoding="utf-8")))
    texts = sorted(figures.requests)
    pairs = near_duplicates(texts, likeness=_LIKENESS)
    figures.alike = [(texts[pair.first], texts[pair.second], pair.likeness) for pair in pairs]
    patterns = json.loads((folder / RECIPE).read_text(encoding="utf-8"))["evaluation"]
    theirs = sorted(evaluation_requests(patterns))
    overlap = near_duplicates(texts, theirs, likeness=_LIKENESS) if theirs else []
    figures.evaluation = [(texts[pair.first], theirs[pair.second], pair.likeness) for pair in overlap]
    return figures


def _samples(folder: Path) -> Iterator[Sample]:
    with (folder / DATA).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _questions(sample: Sample) -> Iterator[str]:
    """What a person wrote: not the turns that hold results."""
    after_calls = False
    for turn in sample["conversations"]:
        if turn["from"] == "gpt":
            after_calls = bool(turn.get("actions"))
        elif not after_calls:
            yield str(turn["value"]).replace("<image>\n", "")


def page(name: str, figures: Figures, shown: dict[str, list[Sample]]) -> str:
    """The report as one HTML page; pictures are files beside it."""
    rows = [(ROWS[row].title if row in ROWS else row, row, count) for row, count in figures.rows.most_common()]
    overlap = figures.evaluation[:_PAIRS_SHOWN] or [("none", "", 0.0)]
    parts = [
        f"<h1>Planner data: {html.escape(name)}</h1>",
        f"<p>{figures.samples} samples, {len(figures.requests)} different requests, {figures.repeated} repeated word "
        f"for word, {len(figures.alike)} pairs alike, {len(figures.evaluation)} pairs like an evaluation request.</p>",
        _table("Rows", ("row", "name", "samples"), rows),
        _table("Skills", ("skill", "calls"), figures.skills.most_common()),
        _table("Questions in a sample", ("questions", "samples"), sorted(figures.turns.items())),
        _table("Refused tries", ("why", "tries"), figures.refused.most_common(40)),
        _table("Requests that are alike", ("one", "other", "likeness"), _rounded(figures.alike[:_PAIRS_SHOWN])),
        _table("Like an evaluation request", ("ours", "theirs", "likeness"), _rounded(overlap)),
        "<h2>Samples</h2>",
        *(_section(row, samples) for row, samples in shown.items()),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(name)}</title>{_STYLE}{''.join(parts)}"
    )


def _rounded(pairs: Sequence[tuple[str, str, float]]) -> list[tuple[str, str, str]]:
    return [(one, other, f"{likeness:.2f}") for one, other, likeness in pairs]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _section(row: str, samples: Sequence[Sample]) -> str:
    title = ROWS[row].title if row in ROWS else row
    return f"<h3>{html.escape(title)}</h3><div class=samples>{''.join(_sample(sample) for sample in samples)}</div>"


def _sample(sample: Sample) -> str:
    images = sample.get("image", [])
    names = [images] if isinstance(images, str) else images
    boxes = "".join(_rectangle(box) for box in _boxes(sample))
    pictures = "".join(
        f'<div class=picture><img loading=lazy src="{html.escape(name)}" alt="">'
        f'<svg viewBox="0 0 1 1" preserveAspectRatio=none>{boxes}</svg></div>'
        for name in names
    )
    return f"<article>{pictures}{''.join(_turn(turn) for turn in sample['conversations'])}</article>"


def _turn(turn: dict[str, Any]) -> str:
    if turn["from"] == "human":
        return f"<p class=human>{html.escape(str(turn['value']).replace('<image>', '').strip())}</p>"
    calls = "".join(
        f"<code>{html.escape(action['API_name'])} {html.escape(json.dumps(action['API_params'], ensure_ascii=False))}"
        "</code><br>"
        for action in turn["actions"]
    )
    return f"<p class=gpt><i>{html.escape(turn['thoughts'])}</i><br>{calls}{html.escape(turn['value'])}</p>"


def _boxes(sample: Sample) -> Iterator[list[float]]:
    """The boxes of all results."""
    for turn in sample["conversations"]:
        for line in str(turn["value"]).split("\n") if turn["from"] == "human" else ():
            _, marker, content = line.partition(" model outputs: ")
            if marker:
                found = json.loads(content)
                yield from found.get("boxes", ())
                yield from (box for level in found.get("levels", ()) for box in level["boxes"])


def _rectangle(box: Sequence[float]) -> str:
    x0, y0, x1, y1 = box
    return f'<rect x="{x0}" y="{y0}" width="{x1 - x0:.3f}" height="{y1 - y0:.3f}"/>'


_STYLE = """<style>
body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.2rem .8rem .2rem 0;text-align:left}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
article{border:1px solid #ccc;border-radius:6px;padding:.6rem;overflow-wrap:anywhere}
.picture{position:relative}.picture img{width:100%;display:block}
svg{position:absolute;inset:0;width:100%;height:100%}rect{fill:none;stroke:#e6007a;stroke-width:.008}
.human{background:#eef3fb;border-radius:6px;padding:.4rem;white-space:pre-wrap}
.gpt{background:#f4f4f0;border-radius:6px;padding:.4rem;white-space:pre-wrap}code{font-size:.85em}
</style>"""
