"""Puts scoring together with what it scores: the words of the gateway, the planner of a profile, a running platform."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deploy.profile import load_profile
from gateway.orchestrator.events import TurnRequest
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.question import question_text
from gateway.state.models import Marks
from planner.eval.cases import Case, Given
from planner.eval.command import (
    PlannerChoice,
    Progress,
    key_in,
    offered,
    opened_planner,
    stand_in_picture,
    time_limit,
    write_report,
)
from planner.eval.failures import write_failures
from planner.eval.gateway import GatewayClient, GatewayPlayer
from planner.eval.journal import Journal, fingerprint
from planner.eval.matching import Tools
from planner.eval.playing import PlannerPlayer, Player
from planner.eval.sight import Scene, caption_losses
from planner.eval.tool_use import judged, play_all, to_json, to_markdown
from services.core.spec import Symbol

_ANY = "img_" + "0" * 40


@dataclass(frozen=True)
class BenchmarkRequest:
    """What `llava-plus eval benchmark` is asked for."""

    name: str
    row: str
    data: Path
    out: Path
    gateway: str | None = None
    mode: str | None = None
    url: str | None = None
    model: str = ""
    key_env: str = ""
    answers: Path | None = None
    judge: str | None = None
    judge_model: str = ""
    judge_key_env: str = ""
    repeats: int = 5
    at_once: int = 1


def words(text: str, given: Given) -> str:
    """A request in the words in which the orchestrator puts it to the planner."""
    symbols = {Symbol.MASK: _ANY} if given.mask else {}
    if given.reference:
        symbols |= {Symbol.REFERENCE_IMAGE: _ANY, Symbol.REFERENCE_MASK: _ANY}
    marks = Marks.model_validate(given.marks.model_dump())
    return question_text(TurnRequest(text=text, marks=marks, symbols=symbols), Gallery())


def told_skills(
    planner: str, profile: str, skills: str | None, learned: str | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The skills that a planner is told of, and those that it knows by name: a profile's for the embedded one.

    Args:
        skills, learned: names parted by commas instead, or `all`; None for the profile's.
    """
    config = load_profile(profile).planner if planner.startswith("embedded") else None
    known = config.learned if config else ()
    if learned is not None:
        known = tuple(spec.name for spec in offered(())) if learned == "all" else _names(learned)
    if skills is None:
        return (config.skills or () if config else ()), known
    return (() if skills == "all" else _names(skills)), known


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


async def score_tool_use(
    choice: PlannerChoice,
    gateway: str | None,
    path: Path,
    cases: Sequence[Case],
    folder: Path,
    at_once: int,
    minutes: float | None,
    fresh: bool,
    say: Callable[[str], None],
) -> Path:
    """Play the requests and write the report.

    Args:
        gateway: the URL of a platform whose planner is scored instead of `choice`.
        minutes: begin nothing new after this time.

    Raises:
        EvaluationError, JournalError: the run cannot be made; the message says what to do.
    """
    tools = Tools(offered(()))
    about = ({"gateway": gateway} if gateway else choice.about()) | {
        "requests": fingerprint(await to_thread(path.read_text))
    }
    journal = Journal(folder / "played.jsonl", about, fresh=fresh)
    async with AsyncExitStack() as open_:
        player: Player
        if gateway:
            client = await open_.enter_async_context(GatewayClient(gateway))
            player = GatewayPlayer(client, stand_in_picture())
        else:
            planner = await open_.enter_async_context(opened_planner(choice))
            player = PlannerPlayer(planner, Tools(offered(choice.skills)), words)
        played = await play_all(
            cases,
            player,
            journal,
            at_once=at_once,
            tell=Progress(say),
            until=time_limit(minutes),
        )
    verdicts = [judged(case, played[case.id], tools) for case in cases if case.id in played]
    write_failures(folder / "failures.jsonl", verdicts, played)
    about = about | {"requests played": f"{len(verdicts)} of {len(cases)} ({path.name})"}
    return write_report(folder, "tool_use", to_json(verdicts, about), to_markdown(verdicts, about))


async def score_benchmark(request: BenchmarkRequest, say: Callable[[str], None]) -> str:
    """Run one benchmark; the tables of all runs so far.

    Raises:
        EvaluationError, JournalError: the run cannot be made; the message says what to do.
    """
    from planner.eval.benchmarks.endpoint import Endpoint
    from planner.eval.benchmarks.run import JUDGED, Run
    from planner.eval.benchmarks.tables import collected, tables

    folder = request.out / request.name / re.sub(r"\W+", "_", request.row)
    async with AsyncExitStack() as open_:
        platform = await open_.enter_async_context(GatewayClient(request.gateway)) if request.gateway else None
        model = judge = None
        if request.url:
            model = Endpoint(request.url, request.model, folder / "model.jsonl", key=key_in(request.key_env))
            open_.push_async_callback(model.close)
        if request.judge:
            judge = Endpoint(
                request.judge,
                request.judge_model,
                folder / "judge.jsonl",
                key=key_in(request.judge_key_env),
                temperature=JUDGED.get(request.name, 0.0),
            )
            open_.push_async_callback(judge.close)
        await Run(
            benchmark=request.name,
            name=request.row,
            data=request.data,
            out=folder,
            given=request.answers,
            platform=platform,
            model=model,
            mode=request.mode,
            judge=judge,
            repeats=request.repeats,
            at_once=request.at_once,
            tell=Progress(say),
        ).scored()
    return tables(collected(request.out))


async def score_ablations(
    config: Path,
    profile: str,
    sample: int | None,
    folder: Path,
    minutes: float | None,
    fresh: bool,
    say: Callable[[str], None],
) -> Path:
    """Play the hand-written requests with every variant that has weights, and write one table.

    Raises:
        EvaluationError, JournalError: the run cannot be made; the message says what to do.
    """
    from planner.eval import ablations
    from planner.eval.cases import TOOL_USE, load_cases, sampled
    from planner.eval.tool_use import figures

    settings = load_profile(profile).planner
    learned, skills = (settings.learned, settings.skills or ()) if settings else ((), ())
    tools = Tools(offered(()))
    cases = sampled(load_cases(TOOL_USE), sample)
    study = ablations.Study.load(config)
    over = time_limit(minutes)
    results: dict[str, tuple[ablations.Variant, ablations.Outcome]] = {}
    for variant in study.variants:
        if variant.missing:
            results[variant.name] = variant, ablations.Outcome(missing=variant.missing)
            continue
        say(f"{variant.name}:")
        choice = variant.choice(learned, skills)
        about = choice.about() | {"learned": list(choice.learned), "requests": len(cases)}
        journal = Journal(folder / f"{fingerprint(variant.name)}.jsonl", about, fresh=fresh)
        async with opened_planner(choice) as planner:
            player = PlannerPlayer(planner, Tools(offered(choice.skills)), words)
            played = await play_all(cases, player, journal, at_once=choice.at_once, tell=Progress(say), until=over)
        shares = figures(judged(case, played[case.id], tools) for case in cases if case.id in played)
        losses = await to_thread(caption_losses, choice.weights, held_out_captions()) if choice.weights else None
        results[variant.name] = variant, ablations.Outcome(shares, caption_losses=losses)
    return write_report(folder, "ablations", ablations.to_json(results), ablations.to_markdown(results))


def held_out_captions(count: int = 40) -> list[Scene]:
    """Scenes of the embedded world that nothing was trained on, each with its plain caption as a sentence."""
    from planner.eval.world.turns import Scenes
    from services.embedded.world.language import plain_caption

    drawn = [Scenes()[number] for number in range(count)]
    texts = [plain_caption(scene) for scene in drawn]
    sentences = [f"{text[0].upper()}{text[1:]}." for text in texts]
    return [(Image.fromarray(np.asarray(scene.image)), text) for scene, text in zip(drawn, sentences, strict=True)]
