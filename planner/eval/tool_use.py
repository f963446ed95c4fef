"""Scores tool use on requests written by hand: valid output, choice, arguments, needless calls, refusals."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.eval.cases import CONVERSATION, REFUSED, Case
from planner.eval.figures import Share, table
from planner.eval.journal import Journal, fingerprint
from planner.eval.matching import Context, Tools, best_faults, progress, ways_with_parts
from planner.eval.parallel import each
from planner.eval.playing import Played, Player, readable

TARGETS = {"valid": 1.0, "choice": 0.95, "arguments": 0.85, "needless": 0.03}
_REFUSING = re.compile(
    r"can(?:no|')?t\b|can not|cannot|unable|not able|couldn't|could not|won't|will not|do(?:es)?n't|do not|does not|"
    r"isn't|is not|sorry|unfortunately|no (?:picture|image|photo|mark|box|point|click|example|reference)|impossible|"
    r"(?:please|could you) (?:send|upload|mark|click|draw|attach|share)|\bonly\b|not possible|missing|beyond",
    re.IGNORECASE,
)
"""A text that says what is not possible, or asks for what is missing."""


@dataclass
class Verdict:
    """What is right about how a request was played; None where it does not apply."""

    case: Case
    valid: bool
    choice: bool
    faults: list[str] | None
    answered: bool | None
    refused: bool | None
    called: list[str]
    seconds: list[float] = field(default_factory=list)

    @property
    def arguments(self) -> bool | None:
        return None if self.faults is None else not self.faults


def judged(case: Case, played: Played, tools: Tools) -> Verdict:
    """The verdict on one request."""
    calls = played.calls
    called = [tools.canonical(action.API_name) for action in calls]
    ways = ways_with_parts(case.accept)
    right = not played.broken and any(progress(called, way) for way in ways)
    faults = best_faults(calls, ways, tools, _context(case)) if right and called else None
    answered = refused = None
    if case.answer is not None:
        answered = right and _holds(played.answer, case.answer.has)
    if case.refuse and not called:
        refused = right and _REFUSING.search(played.answer or "") is not None
    return Verdict(case, readable(played, tools), right, faults, answered, refused, called, played.seconds)


def _context(case: Case) -> Context:
    results = {event.call.skill: event.result for event in case.before if event.call and event.result}
    made = sum("edited_image" in result or "message" in result for result in results.values())
    return Context(marks=case.given.marks, results=results, newest=case.given.pictures + made)


def _holds(answer: str | None, wanted: Sequence[str]) -> bool:
    said = (answer or "").strip().casefold()
    return bool(said) and all(any(word.casefold() in said for word in words.split("|")) for words in wanted)


async def play_all(
    cases: Sequence[Case],
    player: Player,
    journal: Journal,
    *,
    at_once: int = 1,
    tell: Callable[[int, int], None] = lambda done, total: None,
    until: Callable[[], bool] = lambda: False,
) -> dict[str, Played]:
    """Play what the journal does not have yet, and keep it there, in an order that mixes the rows: what has been
    played when a run is cut is then like the whole.

    Args:
        at_once: requests that are played at the same time.
        tell: is told how many of how many are done.
        until: is asked before every request; nothing new is begun once it says yes.
    """
    waiting = sorted((case for case in cases if case.id not in journal), key=lambda case: fingerprint(case.id))

    async def play(case: Case) -> None:
        journal.keep(case.id, (await player.play(case)).to_json())

    await each(waiting, play, at_once=at_once, known=len(cases) - len(waiting), tell=tell, until=until)
    return {case.id: Played.from_json(journal.results[case.id]) for case in cases if case.id in journal}


def figures(verdicts: Iterable[Verdict]) -> dict[str, Share]:
    """The shares that a set of requests is judged by.

    `choice`, `arguments` and `both` are of requests that a skill can meet, `arguments` of those whose choice is right.
    `needless` is the share of plain conversation with a call, `kept_from` of vain wishes without a wrong one.
    """
    known = list(verdicts)
    tasks = [verdict for verdict in known if verdict.case.row not in (CONVERSATION, REFUSED)]
    calling = [verdict for verdict in tasks if verdict.choice and verdict.faults is not None]
    talk = [verdict for verdict in known if verdict.case.row == CONVERSATION]
    wishes = [verdict for verdict in known if verdict.case.row == REFUSED]
    return {
        "valid": Share.of(verdict.valid for verdict in known),
        "choice": Share.of(verdict.choice for verdict in tasks),
        "arguments": Share.of(bool(verdict.arguments) for verdict in calling),
        "both": Share.of(verdict.choice and verdict.arguments is not False for verdict in tasks),
        "needless": Share.of(bool(verdict.called) for verdict in talk),
        "kept_from": Share.of(verdict.choice for verdict in wishes),
        "says_so": Share.of(bool(verdict.refused) for verdict in wishes if verdict.refused is not None),
        "texts": Share.of(bool(verdict.answered) for verdict in known if verdict.answered is not None),
    }


def by(verdicts: Iterable[Verdict], key: Callable[[Case], str]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[key(verdict.case)].append(verdict)
    return dict(groups)


def to_json(verdicts: Sequence[Verdict], about: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result: figures in all, by row and by manner, and every request that went wrong."""
    seconds = sorted(second for verdict in verdicts for second in verdict.seconds)
    return {
        "about": dict(about),
        "figures": {name: share.to_json() for name, share in figures(verdicts).items()},
        "rows": _grouped(verdicts, lambda case: case.row),
        "manners": _grouped(verdicts, lambda case: case.manner),
        "planner_seconds": {"calls": len(seconds), "median": seconds[len(seconds) // 2] if seconds else None},
        "confusions": [
            {"wanted": wanted, "called": called, "times": times} for (wanted, called), times in confusions(verdicts)
        ],
        "argument_faults": dict(faults(verdicts)),
        "wrong": [_wrong(verdict) for verdict in verdicts if _is_wrong(verdict)],
    }


def _grouped(verdicts: Sequence[Verdict], key: Callable[[Case], str]) -> dict[str, Any]:
    return {
        name: {figure: share.to_json() for figure, share in figures(group).items() if share.total}
        for name, group in by(verdicts, key).items()
    }


def confusions(verdicts: Iterable[Verdict]) -> list[tuple[tuple[str, str], int]]:
    """What was wanted (the first right way) and what was called instead, the commonest first."""
    pairs = Counter(
        (named_way(verdict.case), " > ".join(verdict.called) or ("broken" if not verdict.valid else "nothing"))
        for verdict in verdicts
        if not verdict.choice
    )
    return pairs.most_common()


def faults(verdicts: Iterable[Verdict]) -> list[tuple[str, int]]:
    """Mistakes in the arguments of rightly chosen skills, the commonest first."""
    return Counter(_kind(fault) for verdict in verdicts for fault in verdict.faults or ()).most_common()


def _kind(fault: str) -> str:
    return re.sub(r": lacks .*", ": lacks a word", fault)


def named_way(case: Case) -> str:
    """The first right way in words."""
    return " > ".join(" + ".join(call.skill for call in group) for group in case.accept[0]) or "nothing"


def _is_wrong(verdict: Verdict) -> bool:
    return not (verdict.valid and verdict.choice) or False in (verdict.arguments, verdict.answered, verdict.refused)


def _wrong(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.case.id,
        "text": verdict.case.text,
        "wanted": named_way(verdict.case),
        "called": verdict.called,
        "faults": verdict.faults or [],
        "valid": verdict.valid,
        "answered": verdict.answered,
        "refused": verdict.refused,
    }


def to_markdown(verdicts: Sequence[Verdict], about: Mapping[str, Any]) -> str:
    """The report to read."""
    found = figures(verdicts)
    targets = {"valid": "100%", "choice": "95% or more", "arguments": "85% or more", "needless": "3% or less"}
    names = {
        "valid": "valid output",
        "choice": "tool choice",
        "arguments": "arguments, where the choice is right",
        "both": "choice and arguments",
        "needless": "needless calls in plain conversation",
        "kept_from": "wishes that cannot be met: no wrong call",
        "says_so": "of those without a call: says what is not possible or missing",
        "texts": "texts wanted beside or after calls",
    }
    head = ", ".join(f"{name} {value}" for name, value in about.items())
    rows = [[names[name], share, targets.get(name, "")] for name, share in found.items()]
    parts = [f"{head}. Shares with their 95% Wilson intervals.", table(["what", "measured", "asked for"], rows)]
    parts += [_group_table("row", by(verdicts, lambda case: case.row))]
    parts += [_group_table("manner", by(verdicts, lambda case: case.manner))]
    mixed_up = [[wanted, called, times] for (wanted, called), times in confusions(verdicts)[:20]]
    if mixed_up:
        parts += ["What was called instead, the commonest first:", table(["wanted", "called", "times"], mixed_up)]
    wrong_arguments = [[name, times] for name, times in faults(verdicts)[:20]]
    if wrong_arguments:
        parts += ["Mistakes in arguments:", table(["argument", "times"], wrong_arguments)]
    return "\n\n".join(parts) + "\n"


def _group_table(name: str, groups: Mapping[str, Sequence[Verdict]]) -> str:
    rows = []
    for group, verdicts in groups.items():
        found = figures(verdicts)
        right = Share.of(verdict.choice for verdict in verdicts)
        rows.append([group.replace("_", " "), right, found["arguments"], found["valid"]])
    return table([name, "right choice (or none where none is wanted)", "arguments", "valid"], rows)
