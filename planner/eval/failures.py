"""What went wrong in a tool-use run, one line a request, sorted by kind: material to look at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.eval.cases import CONVERSATION, REFUSED
from planner.eval.playing import Played
from planner.eval.tool_use import Verdict, named_way


def kind(verdict: Verdict) -> str | None:
    """What is wrong with it; None where nothing is."""
    if not verdict.valid:
        return "invalid output"
    if not verdict.choice:
        return _wrong_choice(verdict)
    if verdict.arguments is False:
        return "arguments"
    if verdict.answered is False:
        return "no text beside the calls"
    if verdict.refused is False:
        return "does not say what is not possible"
    return None


def _wrong_choice(verdict: Verdict) -> str:
    if verdict.case.row == CONVERSATION:
        return "needless call"
    if verdict.case.row == REFUSED:
        return "call for a wish that cannot be met"
    return "another call" if verdict.called else "no call"


def failures(verdicts: Sequence[Verdict], played: Mapping[str, Played]) -> list[dict[str, Any]]:
    """Everything about each failure: the request, what was wanted, called and said."""
    found = [
        {
            "kind": wrong,
            "wanted": named_way(verdict.case),
            "called": " > ".join(verdict.called) or "nothing",
            "id": verdict.case.id,
            "row": verdict.case.row,
            "manner": verdict.case.manner,
            "text": verdict.case.text,
            "before": [event.model_dump(mode="json", exclude_none=True) for event in verdict.case.before],
            "given": verdict.case.given.model_dump(mode="json", exclude_defaults=True),
            "actions": played[verdict.case.id].actions,
            "answer": played[verdict.case.id].answer,
            "broken": played[verdict.case.id].broken,
            "faults": verdict.faults or [],
        }
        for verdict in verdicts
        if (wrong := kind(verdict)) is not None
    ]
    times = Counter(_confusion(line) for line in found)
    return sorted(found, key=lambda line: (line["kind"], -times[_confusion(line)], _confusion(line), line["id"]))


def _confusion(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["kind"], line["wanted"], line["called"]


def write_failures(path: Path, verdicts: Sequence[Verdict], played: Mapping[str, Played]) -> None:
    """JSON lines, the commonest confusions of a kind first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in failures(verdicts, played)]
    path.write_text("".join(lines), encoding="utf-8")
