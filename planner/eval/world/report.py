"""What was asked of the embedded world, what was right of it, and what could not be asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner.eval.figures import Share, table
from planner.eval.journal import Journal
from planner.eval.world.faults import FAULTS
from planner.eval.world.run import NEEDS, LeftOut
from planner.eval.world.turns import Dialogue

QUESTIONS_MIN, ROW_QUESTIONS_MIN, RIGHT_MIN = 500, 20, 0.8
"""What is asked for: so many questions in all, so many of each row, and this share of them right."""


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
    """Figures in all and by row, whether they are what is asked for, whose fault it is, and every wrong answer.

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
        "planner_right": _planned(records).to_json(),
        "seconds": _seconds(records),
        "asked_for": {what: {"measured": got, "met": met} for what, got, met in _asked_for(records)},
        "rows": {row: _row(group) for row, group in _groups(records).items()},
        "faults": {fault: count for fault, count in _faults(records).items() if count},
        "kinds": {row: dict(kinds.most_common()) for row, kinds in _kinds(records).items()},
        "wrong": [dict(record) for record in records if record["wrong"]],
    }


def to_markdown(
    records: Sequence[Mapping[str, Any]], about: Mapping[str, Any], total: int, left_out: Mapping[str, LeftOut]
) -> str:
    """The report to read; see `to_json`."""
    head = ", ".join(f"{name} {value}" for name, value in about.items())
    kinds = _kinds(records)
    rows: list[list[object]] = []
    for row, group in _groups(records).items():
        enough = "" if len(group) >= ROW_QUESTIONS_MIN else f" (fewer than {ROW_QUESTIONS_MIN})"
        right = f"{_right(group).shown()}{enough}"
        rows.append([_plain(row), right, _planned(group), _in_short(_faults(group)), _in_short(kinds[row])])
    for row, lacking in left_out.items():
        reason = f"not offered: {', '.join(lacking.skills)}"
        rows.append([_plain(row), f"not asked ({lacking.questions})", "-", "-", reason])
    took = _seconds(records)
    limits = [[what, got, "yes" if met else "**no**"] for what, got, met in _asked_for(records)]
    wrong = sum(bool(record["wrong"]) for record in records)
    faults = [[fault, count, Share(count, wrong)] for fault, count in _faults(records).items() if count]
    parts = [
        f"**{headline(records, total, left_out)}**",
        f"{head}. Shares with their 95% Wilson intervals.",
        table(["asked for", "measured", "met"], limits),
        _about_planner(records),
        f"A turn took {took['median']:.1f} s (median), nine of ten at most {took['p90']:.1f} s.",
        table(["row", "right", "planner's calls right", "whose fault", "what is wrong, the commonest first"], rows),
    ]
    if faults:
        parts += ["What is wrong, by whose fault it is:", table(["fault", "answers", "of those wrong"], faults)]
    return "\n\n".join(parts) + "\n"


def _plain(row: str) -> str:
    return row.replace("_", " ")


def _asked_for(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, bool]]:
    """What is asked for, what was measured, and whether that is enough."""
    right = _right(records)
    counts = dict.fromkeys(NEEDS, 0) | {row: len(group) for row, group in _groups(records).items()}
    fewest = min(counts, key=counts.__getitem__)
    return [
        (f"{QUESTIONS_MIN} questions", str(len(records)), len(records) >= QUESTIONS_MIN),
        (
            f"{ROW_QUESTIONS_MIN} of each row",
            f"{counts[fewest]} ({_plain(fewest)})",
            counts[fewest] >= ROW_QUESTIONS_MIN,
        ),
        (f"{RIGHT_MIN:.0%} right", right.shown(), right.total > 0 and right.right >= RIGHT_MIN * right.total),
    ]


def _about_planner(records: Sequence[Mapping[str, Any]]) -> str:
    """How often the planner was right, whatever the skills made of it, and how much of the rest is its own fault."""
    good = [record for record in records if record["plan"] == "right"]
    bad = [record for record in records if record["plan"] != "right"]
    return (
        f"The planner's calls (right skills, right arguments) were right for {_planned(records).shown()} of the "
        f"questions. Where they were, the answer was right in {_right(good).shown()}; where not, in "
        f"{_right(bad).shown()}."
    )


def _planned(records: Sequence[Mapping[str, Any]]) -> Share:
    return Share.of(record["plan"] == "right" for record in records)


def _seconds(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of whole turns: the median, and what nine of ten take at most; 0 of none."""
    known = sorted(float(record["seconds"]) for record in records) or [0.0]
    return {"median": known[len(known) // 2], "p90": known[(len(known) * 9) // 10]}


def _row(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    faults = {fault: count for fault, count in _faults(group).items() if count}
    return _right(group).to_json() | {"planner_right": _planned(group).to_json(), "faults": faults}


def _faults(records: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Wrong answers by whose fault they are, the planner's first."""
    return Counter({fault: sum(record["fault"] == fault for record in records) for fault in FAULTS})


def _right(records: Sequence[Mapping[str, Any]]) -> Share:
    return Share.of(not record["wrong"] for record in records)


def _groups(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        groups[str(record["row"])].append(record)
    return groups


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


def _in_short(kinds: Counter[str]) -> str:
    return "; ".join(f"{kind} ({times})" for kind, times in kinds.most_common(3) if times)
