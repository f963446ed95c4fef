"""One skill: scored on every split, its sheets drawn, its calls timed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from services.core.skill import SkillCall
from services.embedded.eval.progress import Report, quiet
from services.embedded.eval.results import Latency, SkillResult, SplitResult, known, signature
from services.embedded.eval.scorer import Asks, Example, Score, Scorer
from services.embedded.eval.sheet import chosen, save, sheet
from services.embedded.eval.skills import EMBEDDED, Setup, Skills, checkpoints_of, parts_of
from services.embedded.eval.splits import Split
from services.embedded.eval.targets import GENERATION
from services.embedded.world.cache import CacheMeta

SHOWN_SINGLE: Final = 8
SHOWN_DOUBLE: Final = 6
"""Good cases on a sheet, and as many bad ones, by how many pictures a case has."""
_WARM_UP_CALLS: Final = 2
_TIMED_CALLS: Final = 15
_TIMED_PAINTINGS: Final = 3


class Timed(Protocol):
    """What latencies are measured on."""

    def seconds(self, name: str, call: SkillCall[Any]) -> float:
        """How long one call takes."""
        ...


def evaluated(scorer: Scorer, splits: Sequence[Split], folder: Path, sign: str, report: Report = quiet) -> SkillResult:
    """Score a skill with its published checkpoint, and write its sheets to `folder`.

    Raises:
        ScoringFailed: the skill answered with an error.
    """
    started = time.monotonic()
    skills = Skills(report=report)
    try:
        found = {}
        for split in splits:
            if split.name in scorer.splits:
                report(f"{scorer.skill}, {split.name}: {len(split.scenes)} scenes")
                found[split.name] = _on(scorer, skills, split, folder)
        latency = measured(scorer, skills, splits[0])
    finally:
        skills.close()
    return SkillResult(scorer.skill, sign, found, latency, round(time.monotonic() - started, 1))


def signed(scorer: Scorer, splits: Sequence[Split], setups: Mapping[str, Setup] = EMBEDDED) -> str:
    """The signature of what `evaluated` would find."""
    asked = [scorer.skill, *scorer.judges]
    sizes = [(split.name, len(split.scenes), split.painted, split.seed) for split in splits]
    settings = [str(setups[part]) for name in asked for part in parts_of(name) if part in setups]
    return signature(checkpoints_of(asked, setups), CacheMeta(0, 0, ()).world, sizes, settings)


def measured(scorer: Scorer, skills: Timed, split: Split) -> Latency:
    """The median of single calls on different scenes."""
    import torch

    count = _TIMED_PAINTINGS if scorer.skill in GENERATION else _TIMED_CALLS
    scenes = [drawn for drawn in split.scenes if drawn.objects][: count + _WARM_UP_CALLS]
    seconds = [skills.seconds(scorer.skill, scorer.call(drawn)) for drawn in scenes]
    timed = seconds[_WARM_UP_CALLS:] or seconds
    return Latency(
        median_ms=round(1000 * statistics.median(timed), 1),
        calls=len(timed),
        threads=torch.get_num_threads(),
        cores=os.cpu_count() or 1,
    )


def _on(scorer: Scorer, skills: Asks, split: Split, folder: Path) -> SplitResult:
    score = scorer.score(skills, split)
    name = f"{scorer.skill.replace('+', '_')}-{split.name.replace(' ', '-')}.webp"
    if score.examples:
        save(sheet(rows_of(score)), folder / name)
    return SplitResult(known(score.figures), score.counts, score.tables, name if score.examples else "")


def rows_of(score: Score) -> list[tuple[str, Sequence[Example]]]:
    """Good and bad cases under their headings."""
    double = len(score.examples[0].panels()) > 1
    good, bad = chosen(score.examples, SHOWN_DOUBLE if double else SHOWN_SINGLE)
    rows = (("Good: from the better half", good), ("Bad: the worst", bad))
    return [(heading, examples) for heading, examples in rows if examples]
