"""What `llava-plus embedded eval` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from services.embedded.eval.evaluate import evaluated, signed
from services.embedded.eval.progress import Report
from services.embedded.eval.report import PICTURES, WORLD_SHEET, Row, missing_row, write
from services.embedded.eval.results import SkillResult, Store
from services.embedded.eval.scorer import Example, Scorer, ScoringFailed, scorer_of
from services.embedded.eval.sheet import save, sheet
from services.embedded.eval.splits import SCENES_IN_STYLE, SCENES_UNSEEN, Split, held_out, picture
from services.embedded.eval.targets import SKILLS
from services.embedded.training.command import default_runs, default_world
from services.embedded.world.cache import StaleCache
from services.embedded.world.language import plain_caption
from services.embedded.world.sprites import WorldNotReady

PAINTED = 60
_WORLD_SHOWN = 8


class EvaluationError(RuntimeError):
    """The evaluation cannot run, or a skill failed in it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """One evaluation, as the command line asks for it.

    Attributes:
        only: skills to score; all when empty. Of the others the report has what was found before.
        scenes, unseen: held-out scenes in style and in the unseen style.
        painted: pictures that each skill that paints is asked for in style (half as many in the unseen style).
        world: folder where rendered scenes are kept.
        runs: folder of runs; results go to `eval` in it.
        docs: where the report goes; beside the results when None.
        fresh: score again what was scored already.
    """

    only: tuple[str, ...] = ()
    scenes: int = SCENES_IN_STYLE
    unseen: int = SCENES_UNSEEN
    painted: int = PAINTED
    world: Path | None = None
    runs: Path | None = None
    docs: Path | None = None
    fresh: bool = False


def run(request: EvalRequest, report: Report) -> Path:
    """Score, and write the report.

    Returns:
        The report's path. Skills whose checkpoints are not published have rows that say so.

    Raises:
        EvaluationError: no such skill, no scenes, or a skill failed (the others are scored and reported first).
    """
    scorers = {skill: scorer_of(skill) for skill in SKILLS}
    if unknown := sorted(set(request.only) - set(scorers)):
        raise EvaluationError(f"There is no scorer of {unknown[0]!r}: name one of {', '.join(scorers)}.")
    _hush()
    store = Store((request.runs or default_runs()) / "eval")
    if request.docs is not None:
        store.adopt(request.docs / PICTURES)
    try:
        splits = held_out(request.world or default_world(), request.scenes, request.unseen, request.painted, report)
    except (StaleCache, WorldNotReady) as error:
        raise EvaluationError(str(error)) from None
    rows, failures = [], []
    for skill, scorer in scorers.items():
        try:
            row = _row(scorer, splits, store, request, report)
        except ScoringFailed as error:
            failures.append(str(error))
            row = Row(skill, None, "failed")
        report(f"{skill}: {row.why_not or told(row.result)}")
        rows.append(row)
    save(world_sheet(splits), store.folder / WORLD_SHEET)
    page = write(request.docs or store.folder / "docs", rows, store.folder)
    if failures:
        raise EvaluationError(f"{'; '.join(failures)}. What was scored is in {page}.")
    return page


def told(result: SkillResult | None) -> str:
    """A result in one line."""
    if result is None:
        return ""
    splits = (
        f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in found.figures.items())
        for name, found in result.splits.items()
    )
    return f"{'; '.join(splits)}; {result.latency.median_ms:.0f} ms a call; scored in {result.seconds:.0f} s"


def world_sheet(splits: Sequence[Split]) -> Image.Image:
    """What the world looks like: scenes in style, and in the unseen style."""
    return sheet(
        [
            (split.name.capitalize(), [_shown(split, index) for index in range(min(count, len(split.scenes)))])
            for split, count in zip(splits, (_WORLD_SHOWN, _WORLD_SHOWN // 2), strict=True)
        ]
    )


def _shown(split: Split, index: int) -> Example:
    drawn = split.scenes[index]
    return Example(1.0, [plain_caption(drawn)], lambda: [picture(drawn)])


def _hush() -> None:
    """No bars from transformers while weights are loaded: progress is reported here."""
    import transformers

    transformers.utils.logging.disable_progress_bar()


def _row(scorer: Scorer, splits: Sequence[Split], store: Store, request: EvalRequest, report: Report) -> Row:
    """The skill's result: an earlier one, if nothing that it depends on has changed, or a new one."""
    missing = missing_row(scorer.skill, [scorer.skill, *scorer.judges])
    if missing is not None:
        return missing
    asked_for = not request.only or scorer.skill in request.only
    sign = signed(scorer, splits)
    result = store.load(scorer.skill)
    stands = result is not None and result.signature == sign
    if asked_for and (request.fresh or not stands):
        result = evaluated(scorer, splits, store.folder, sign, report)
        store.save(result)
    elif not stands:
        return Row(scorer.skill, None, "not scored in this run")
    return Row(scorer.skill, result)
