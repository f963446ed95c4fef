"""What an evaluation found, kept a skill at a time, so that one that was cut goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from services.embedded.eval.scorer import Table
from services.embedded.training.publish import weights_folder

EVAL_VERSION: Final = 1
"""Raise when the same weights and scenes get other figures."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a single call takes.

    Attributes:
        median_ms: of `calls` calls, one after the other.
        threads: that torch used for one operation; `cores` that the machine has.
    """

    median_ms: float
    calls: int
    threads: int
    cores: int


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Figures of one split; those without a case are left out. `sheet` is the name of a picture file."""

    figures: dict[str, float]
    counts: dict[str, int]
    tables: list[Table]
    sheet: str


@dataclass(frozen=True, slots=True)
class SkillResult:
    """All that was found out about one skill.

    Attributes:
        signature: what it depends on; a result with another one is out of date.
        seconds: how long it took to find out.
    """

    skill: str
    signature: str
    splits: dict[str, SplitResult]
    latency: Latency
    seconds: float


@dataclass(frozen=True, slots=True)
class Store:
    """Results in a folder: NAME.json beside the sheets."""

    folder: Path

    def path(self, skill: str) -> Path:
        return self.folder / f"{skill.replace('+', '_')}.json"

    def load(self, skill: str) -> SkillResult | None:
        """The skill's result, or None where there is none that can be read, or where its sheets are gone."""
        path = self.path(skill)
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            splits = {name: _split(entry) for name, entry in data["splits"].items()}
            found = SkillResult(**(data | {"splits": splits, "latency": Latency(**data["latency"])}))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        sheets = [split.sheet for split in splits.values() if split.sheet]
        return found if all((self.folder / sheet).is_file() for sheet in sheets) else None

    def adopt(self, folder: Path) -> None:
        """Take over results and sheets of another folder, such as the report's, for skills that have none here."""
        other = Store(folder)
        for path in sorted(folder.glob("*.json")):
            if self.path(path.stem).exists() or (result := other.load(path.stem)) is None:
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in [path.name, *(split.sheet for split in result.splits.values() if split.sheet)]:
                shutil.copyfile(folder / name, self.folder / name)

    def save(self, result: SkillResult) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(result.skill)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(asdict(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)


def known(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures without those that had no case."""
    return {name: round(value, 6) for name, value in figures.items() if not math.isnan(value)}


def signature(checkpoints: Iterable[str], *facts: Any) -> str:
    """A hash of the weights of embedded checkpoints and of whatever else decides the figures."""
    digest = hashlib.sha256(json.dumps([EVAL_VERSION, *facts], default=str, sort_keys=True).encode())
    for name in checkpoints:
        folder = weights_folder() / name
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in (".safetensors", ".json", ".txt"):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _split(entry: Mapping[str, Any]) -> SplitResult:
    tables = [
        Table(table["title"], tuple(table["header"]), [tuple(row) for row in table["rows"]])
        for table in entry["tables"]
    ]
    return SplitResult(entry["figures"], entry["counts"], tables, entry["sheet"])
