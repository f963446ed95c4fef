"""Scoring on the embedded world: whole turns through a running platform, and turns with mistakes made on purpose."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.mistakes import LocalTurns, RemoteSkills
from planner.eval.command import EvaluationError, PlannerChoice, Progress, opened_planner, time_limit, write_report
from planner.eval.gateway import GatewayClient
from planner.eval.journal import Journal
from planner.eval.mistakes import (
    NO_MISTAKE,
    PLAN_MISTAKES,
    SKILL_MISTAKES,
    FailingSkills,
    MistakenPlanner,
    to_json,
    to_markdown,
)
from planner.eval.world import report, run
from planner.eval.world.questions import dialogues
from planner.eval.world.turns import Dialogue, Scenes
from services.embedded.world.sprites import WorldNotReady


async def _questions(each: int) -> tuple[list[Dialogue], Scenes]:
    """The questions of the embedded world with their scenes. Raises `EvaluationError` where it is not rendered yet."""
    scenes = Scenes()
    try:
        return await to_thread(dialogues, scenes, each), scenes
    except WorldNotReady as error:
        raise EvaluationError(str(error)) from None


def _count(made: Sequence[Dialogue]) -> int:
    return sum(len(dialogue.turns) for dialogue in made)


async def score_world(
    gateway: str,
    each: int,
    mode: str | None,
    folder: Path,
    at_once: int,
    minutes: float | None,
    fresh: bool,
    say: Callable[[str], None],
) -> Path:
    """Ask a running platform the questions of the embedded world and write the report.

    Raises:
        EvaluationError, JournalError: the run cannot be made; the message says what to do.
    """
    about = {"gateway": gateway, "questions of each row": each, "mode": mode or "the platform's"}
    journal = Journal(folder / "asked.jsonl", about, fresh=fresh)
    async with GatewayClient(gateway) as client:
        offers = await client.skills()
        made, scenes = await _questions(each)
        able = run.askable(made, offers)
        await run.ask_all(
            able,
            scenes,
            client,
            journal,
            at_once=at_once,
            mode=mode,
            tell=Progress(say),
            until=time_limit(minutes),
        )
    records, without = report.answered(able, journal), run.left_out(made, offers)
    total = _count(made)
    about |= {"skills offered": ", ".join(offers)}
    say(report.headline(records, total, without))
    data = report.to_json(records, about, total, without)
    return write_report(folder, "world", data, report.to_markdown(records, about, total, without))


async def score_mistakes(
    choice: PlannerChoice,
    gateway: str,
    each: int,
    kinds: Sequence[str],
    folder: Path,
    minutes: float | None,
    fresh: bool,
    say: Callable[[str], None],
) -> Path:
    """Ask the same questions once without and once with each kind of mistake, and write the report.

    Raises:
        EvaluationError, JournalError: the run cannot be made; the message says what to do.
    """
    known = (NO_MISTAKE, *PLAN_MISTAKES, *SKILL_MISTAKES)
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise EvaluationError(f"--kinds {unknown[0]}: use {', '.join(known)}.")
    about = choice.about() | {"gateway": gateway, "questions of each row": each}
    by_kind, over = {}, time_limit(minutes)
    async with GatewayClient(gateway) as client, opened_planner(choice, client.picture) as planner:
        offers = await client.skills()
        made, scenes = await _questions(each)
        able = run.askable(made, offers)
        for kind in kinds or known:
            skills = RemoteSkills(client, offers)
            spoilt = next((MistakenPlanner(planner, one) for one in PLAN_MISTAKES if one == kind), None)
            failing = next((FailingSkills(skills, one) for one in SKILL_MISTAKES if one == kind), None)
            turns = LocalTurns(client, spoilt or planner, failing or skills)
            journal = Journal(folder / f"{kind}.jsonl", about | {"mistake": kind}, fresh=fresh)
            say(f"{kind}:")
            await run.ask_all(able, scenes, turns, journal, tell=Progress(say), until=over)
            by_kind[kind] = report.answered(able, journal)
    about |= {"questions whose skills the platform offers": f"{_count(able)} of {_count(made)}"}
    return write_report(folder, "mistakes", {"about": about, "kinds": to_json(by_kind)}, to_markdown(by_kind, about))
