"""Scoring on the embedded world: whole turns through a running platform, and turns with mistakes made on purpose."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.mistakes import LocalTurns, RemoteSkills
from planner.eval.command import EvaluationError, PlannerChoice, Progress, opened_planner, time_limit, write_report
from planner.eval.gateway import GatewayClient
from planner.eval.journal import Journal, fingerprint
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
    stopped: EvaluationError | None = None
    async with GatewayClient(gateway) as client:
        offers = await client.skills()
        made, scenes = await _questions(each)
        about = {
            "gateway": gateway,
            "questions of each row": each,
            "mode": mode or "the platform's",
            "skills offered": ", ".join(offers),
        }
        journal = Journal(folder / "asked.jsonl", about | {"questions": _named(made)}, fresh=fresh)
        able = run.askable(made, offers)
        try:
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
        except EvaluationError as error:
            stopped = error
    records, without = report.answered(able, journal), run.left_out(made, offers)
    total = _count(made)
    say(report.headline(records, total, without))
    data = report.to_json(records, about, total, without)
    page = write_report(folder, "world", data, report.to_markdown(records, about, total, without))
    return _unless(stopped, page)


def _named(made: Sequence[Dialogue]) -> str:
    """A short name of the questions: answers to others are not mixed with those to these."""
    return fingerprint([[dialogue.id, *(turn.text for turn in dialogue.turns)] for dialogue in made])


def _unless(stopped: EvaluationError | None, page: Path) -> Path:
    """The report's page. Raises what stopped the run, with what to do about it."""
    if stopped is None:
        return page
    raise EvaluationError(f"{stopped} What was answered so far is in {page}; the same command goes on from there.")


async def score_mistakes(
    choice: PlannerChoice,
    gateway: str,
    each: int,
    kinds: Sequence[str],
    folder: Path,
    at_once: int,
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
    stopped: EvaluationError | None = None
    async with GatewayClient(gateway) as client:
        offers = await client.skills()
        made, scenes = await _questions(each)
        about |= {"skills offered": ", ".join(offers)}
        able = run.askable(made, offers)
        settings = about | {"questions": _named(made)}
        journals = {
            kind: Journal(folder / f"{kind}.jsonl", settings | {"mistake": kind}, fresh=fresh)
            for kind in kinds or known
        }
        async with opened_planner(choice, client.picture) as planner:
            jobs: list[run.Job] = []
            for kind, journal in journals.items():
                skills = RemoteSkills(client, offers)
                spoilt = next((MistakenPlanner(planner, one) for one in PLAN_MISTAKES if one == kind), None)
                failing = next((FailingSkills(skills, one) for one in SKILL_MISTAKES if one == kind), None)
                turns = LocalTurns(client, spoilt or planner, failing or skills)
                jobs += [run.Job(dialogue, turns, journal) for dialogue in able]
            try:
                await run.ask_jobs(jobs, scenes, at_once=at_once, tell=Progress(say), until=time_limit(minutes))
            except EvaluationError as error:
                stopped = error
    by_kind = {kind: report.answered(able, journal) for kind, journal in journals.items()}
    about |= {"questions whose skills the platform offers": f"{_count(able)} of {_count(made)}"}
    data = {"about": about, "kinds": to_json(by_kind), "turns": by_kind}
    return _unless(stopped, write_report(folder, "mistakes", data, to_markdown(by_kind, about)))
