"""Writes `docs/embedded.md` from results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.embedded.eval.outlook import TIMES_MAX, outlook
from services.embedded.eval.results import SkillResult, SplitResult, Store
from services.embedded.eval.scorer import Table, scorer_of
from services.embedded.eval.skills import EMBEDDED, checkpoints_of, unpublished
from services.embedded.eval.targets import FIGURES, GENERATION_MS_MAX, IN_STYLE, LIMITS_MS, SKILLS, UNSEEN, Figure
from services.embedded.eval.targets import UNDERSTANDING_MS_MAX as QUICK_MS_MAX
from services.embedded.training.publish import published_card, weights_folder
from services.embedded.world.concepts import BACKGROUNDS, CONCEPTS, TRAIN_STYLES

PAGE: Final = "embedded.md"
PICTURES: Final = "embedded"
WORLD_SHEET: Final = "world.webp"
COMMAND: Final = "make eval-embedded"
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One skill of the report: its result, or why there is none."""

    skill: str
    result: SkillResult | None
    why_not: str = ""

    def split(self, name: str) -> SplitResult | None:
        return self.result.splits.get(name) if self.result else None


def write(docs: Path, rows: Sequence[Row], sheets: Path) -> Path:
    """Write the page and copy its pictures and results into `docs`; those of an earlier report go away.

    The results let another machine go on from this report, skill by skill, without scoring anything anew.

    Args:
        sheets: folder of the results and of the pictures that they name.
    """
    pictures = docs / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    for old in (*pictures.glob("*.webp"), *pictures.glob("*.json")):
        old.unlink()
    names = [Store(sheets).path(row.skill).name for row in rows if row.result]
    names += [split.sheet for row in rows if row.result for split in row.result.splits.values() if split.sheet]
    for name in [WORLD_SHEET, *names]:
        if (sheets / name).is_file():
            shutil.copyfile(sheets / name, pictures / name)
    page = docs / PAGE
    page.write_text(rendered(rows, docs, (pictures / WORLD_SHEET).is_file()), encoding="utf-8")
    return page


def rendered(rows: Sequence[Row], docs: Path, world_sheet: bool = True) -> str:
    """The page; `docs` is the folder that links start from."""
    by_skill = {row.skill: row for row in rows}
    checkpoints = checkpoints_of(SKILLS)
    parts = [
        _introduction(world_sheet),
        "## Figures\n\n" + _figures(by_skill),
        "## Below the floor\n\n" + _shortfalls(by_skill),
        "## Speed\n\n" + _speed(by_skill),
        "## Checkpoints\n\n" + _checkpoints(checkpoints, docs),
        *(_section(by_skill[skill]) for skill in SKILLS if skill in by_skill),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def verdict(figure: Figure, value: float | None) -> str:
    """'target', 'floor' or 'no' by what a value reaches."""
    if value is None:
        return NOTHING
    return "target" if value >= figure.target else "floor" if value >= figure.floor else "**no**"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _introduction(world_sheet: bool) -> str:
    shown = f"\n\n![Scenes of the embedded world; the last row in the unseen style]({PICTURES}/{WORLD_SHEET})"
    return f"""# The embedded world

The `embedded` profile runs every skill offline, on a laptop's CPU. The architectures are the published ones at a small
size; the weights are trained here, on a **synthetic demo world**: icons of {len(CONCEPTS)} concepts in
{len(TRAIN_STYLES)} drawing styles on {len(BACKGROUNDS)} painted backgrounds, signs with words, 256 x 256 pixels, every
box, mask, word and answer known exactly. They know nothing else. Photographs need the `cpu` or `gpu` profile.

This page is written by `{COMMAND}` (`llava-plus embedded eval`). It shows how well the weights in
`services/embedded/weights` do on held-out scenes, through the same skill classes that the platform serves. "In style"
is drawn in the styles of the training scenes; "unseen style" in one that no checkpoint was trained on. Nothing was
trained or chosen on these scenes. Figures come out the same every time; latencies depend on the machine. On the sheets,
good cases are spread over the better half of all, as far as it is better than the worst, and bad ones are the very
worst.\
{shown * world_sheet}"""


def _figures(by_skill: Mapping[str, Row]) -> str:
    rows = []
    for figure in FIGURES:
        row = by_skill.get(figure.skill)
        if row is None:
            continue
        values = [_value(row.split(name), figure.key) for name in (IN_STYLE, UNSEEN)]
        rows.append(
            (
                figure.skill,
                figure.title,
                row.why_not if row.result is None else _shown(values[0], figure),
                _shown(values[1], figure),
                "exact" if figure.exact else f"{figure.floor:.2f}",
                "exact" if figure.exact else f"{figure.target:.2f}",
                verdict(figure, values[0]),
                _counts(row.split(IN_STYLE)),
            )
        )
    header = ("skill", "figure", "in style", "unseen style", "floor", "target", "reached", "measured on, in style")
    return table(header, rows)


def _shortfalls(by_skill: Mapping[str, Row]) -> str:
    rows = []
    for figure in FIGURES:
        row = by_skill.get(figure.skill)
        value = _value(row.split(IN_STYLE), figure.key) if row else None
        if value is None or value >= figure.floor:
            continue
        own = checkpoints_of([figure.skill])[:1]  # what it starts from comes after its own
        card = published_card(own[0]) if own else None
        so_far, takes = NOTHING, "not measured in training"
        if card is not None:
            so_far = f"{card['samples'] / 1000:,.0f} thousand samples, {card['minutes']:.0f} minutes"
            if figure.dev:
                takes = outlook(weights_folder() / own[0], figure.dev, figure.floor)
        rows.append((figure.skill, figure.title, f"{value:.3f}", f"{figure.floor:.2f}", so_far, takes))
    if not rows:
        return "Nothing."
    return (
        "What the floor would take, at the least: the run goes on from its last point with the slope over the logarithm"
        f" of samples that it had in its later two thirds. Where that is more than {TIMES_MAX:.0f} times the samples, "
        "something else is lacking (a larger network, finer pictures).\n\n"
        + table(("skill", "figure", "in style", "floor", "trained so far", "the floor would take"), rows)
    )


def _speed(by_skill: Mapping[str, Row]) -> str:
    timed = [(row.skill, row.result.latency) for row in by_skill.values() if row.result]
    if not timed:
        return "Nothing was measured."
    rows = [
        (
            skill,
            f"{found.median_ms:.0f} ms",
            f"{LIMITS_MS[skill]:.0f} ms",
            "yes" if found.median_ms <= LIMITS_MS[skill] else "**no**",
        )
        for skill, found in timed
    ]
    machines = sorted({(found.threads, found.cores) for _, found in timed})
    told = ", ".join(f"{threads} threads of torch on {cores} cores" for threads, cores in machines)
    return (
        f"Median of single calls (one picture of 256 pixels, no Ray), measured with {told}. Skills that understand "
        f"shall answer within {QUICK_MS_MAX:.0f} ms on two cores, those that paint within "
        f"{GENERATION_MS_MAX / 1000:.0f} s.\n\n" + table(("skill", "median", "limit", "within"), rows)
    )


def _checkpoints(names: Sequence[str], docs: Path) -> str:
    rows = []
    for name in names:
        card = published_card(name)
        if card is None:
            rows.append((name, "not trained yet", NOTHING, NOTHING, NOTHING, NOTHING))
            continue
        figures = ", ".join(f"{key} {value}" for key, value in card["dev"].items())
        rows.append(
            (
                name,
                f"{card['samples']:,}",
                f"{card['minutes']:.0f}",
                f"{_megabytes(name):.1f} MB",
                figures,
                _link(name, docs),
            )
        )
    return (
        "Samples seen and minutes of training; figures on the development scenes, by which runs are compared; curve "
        "of the run. `llava-plus embedded train NAME` repeats it; with `--from-published` it goes on from the weights "
        "here, up to more `--minutes` (or `--set steps=NUMBER`) than they have had, and what does better replaces "
        "them.\n\n" + table(("checkpoint", "samples", "minutes", "weights", "development figures", "curve"), rows)
    )


def _section(row: Row) -> str:
    parts = [f"## {row.skill}", scorer_of(row.skill).description()]
    if row.result is None:
        return "\n\n".join([*parts, f"{row.why_not.capitalize()}."])
    for name, found in row.result.splits.items():
        figures = ", ".join(f"{_words(key)} {value:.3f}" for key, value in found.figures.items())
        parts.append(f"**{name.capitalize()}** ({_counts(found)}): {figures}.")
        if name == IN_STYLE:
            parts += [_detail(detail) for detail in found.tables if detail.rows]
        if found.sheet:
            parts.append(f"![{row.skill}, {name}: good and bad cases]({PICTURES}/{found.sheet})")
    return "\n\n".join(parts)


def _detail(detail: Table) -> str:
    return f"{detail.title}:\n\n{table(detail.header, detail.rows)}"


def _value(found: SplitResult | None, key: str) -> float | None:
    return found.figures.get(key) if found else None


def _shown(value: float | None, figure: Figure) -> str:
    if value is None:
        return NOTHING
    return "exact" if figure.exact and value >= 1.0 else f"{value:.3f}"


def _counts(found: SplitResult | None) -> str:
    return ", ".join(f"{count} {what}" for what, count in found.counts.items()) if found else NOTHING


def _words(key: str) -> str:
    return key.replace("_", " ")


def _megabytes(name: str) -> float:
    return sum(path.stat().st_size for path in (weights_folder() / name).rglob("*.safetensors")) / 1e6


def _link(name: str, docs: Path) -> str:
    curve = weights_folder() / name / "curve.png"
    return f"[curve]({Path(os.path.relpath(curve, docs)).as_posix()})" if curve.is_file() else NOTHING


def missing_row(skill: str, needed: Iterable[str]) -> Row | None:
    """The row of a skill that cannot be scored for want of checkpoints; None where all are there."""
    missing = unpublished(checkpoints_of(needed, EMBEDDED))
    if not missing:
        return None
    own = unpublished(checkpoints_of([skill], EMBEDDED))
    return Row(skill, None, "not trained yet" if own else f"cannot be judged: {', '.join(missing)} not trained yet")
