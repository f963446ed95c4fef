"""What was asked of the embedded world, what was right of it, and what could not be asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner.eval.figures import Share, table
from planner.eval.journal import Journal
from planner.eval.world.run import LeftOut
from planner.eval.world.turns import Dialogue


def answered(made: Sequence[Dialogue], journal: Journal) -> list[dict[str, Any]]:
    """One record a question that was asked: its row, words, calls, and what is wrong ("" where nothing is)."""
    return [
        {"id": f"{dialogue.id}.{place}", "row": dialogue.row} | turn
        for dialogue in made
        if dialogue.id in journal
        for place, turn in enumerate(journal.results[dialogue.id]["turns"])
    ]


def headline(records: Sequence[Mapping[str, Any]], total: int, left_out: Mapping[str, LeftOut]) -> str:
    """How many were asked, and why not the others, before how many were right."""
    asked, without = len(records), sum(row.questions for row in left_out.values())
    later = total - without - asked
    parts = [f"Asked: {asked} of {total} questions. Right, of those asked: {_right(records).shown()}."]
    if without:
        parts.append(f"Not asked, since the platform lacks their rows' skills: {without}.")
    if later > 0:
        parts.append(f"Not asked yet: {later}.")
    return " ".join(parts)


def to_json(
    records: Sequence[Mapping[str, Any]], about: Mapping[str, Any], total: int, left_out: Mapping[str, LeftOut]
) -> dict[str, Any]:
    """Figures in all and by row, what is wrong by kind, and every wrong answer.

    Args:
        total: all questions that there are.
        left_out: those not asked by row, since their skills are not offered: they count neither as right nor as wrong.
    """
    return {
        "about": dict(about),
        "asked": len(records),
        "questions": total,
        "not_offered": {row: asdict(lacking) for row, lacking in left_out.items()},
        "right": _right(records).to_json(),
        "rows": {row: share.to_json() for row, share in _rows(records).items()},
        "kinds": {row: dict(kinds.most_common()) for row, kinds in _kinds(records).items()},
        "wrong": [dict(record) for record in records if record["wrong"]],
    }


def to_markdown(
    records: Sequence[Mapping[str, Any]], about: Mapping[str, Any], total: int, left_out: Mapping[str, LeftOut]
) -> str:
    """The report to read; see `to_json`."""
    head = ", ".join(f"{name} {value}" for name, value in about.items())
    rows, kinds = _rows(records), _kinds(records)
    lines: list[list[object]] = [[row.replace("_", " "), share, _short(kinds[row])] for row, share in rows.items()]
    for row, lacking in left_out.items():
        reason = f"not offered: {', '.join(lacking.skills)}"
        lines.append([row.replace("_", " "), f"not asked ({lacking.questions})", reason])
    parts = [
        f"**{headline(records, total, left_out)}**",
        f"{head}. Shares with their 95% Wilson intervals.",
        table(["row", "right", "what is wrong, the commonest first"], lines),
    ]
    return "\n\n".join(parts) + "\n"


def _right(records: Sequence[Mapping[str, Any]]) -> Share:
    return Share.of(not record["wrong"] for record in records)


def _rows(records: Sequence[Mapping[str, Any]]) -> dict[str, Share]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        groups[str(record["row"])].append(not record["wrong"])
    return {row: Share.of(right) for row, right in groups.items()}


def _kinds(records: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if record["wrong"]:
            called = ", ".join(record["called"]) or "nothing"
            kinds[str(record["row"])][f"called {called}: {_kind(str(record['wrong']))}"] += 1
    return kinds


def _kind(wrong: str) -> str:
    """The reason without its particulars."""
    head = wrong.split(":")[0].split("(")[0].split(",")[0]
    return " ".join("N" if any(letter.isdigit() for letter in word) else word for word in head.split())


def _short(kinds: Counter[str]) -> str:
    return "; ".join(f"{kind} ({times})" for kind, times in kinds.most_common(3))
