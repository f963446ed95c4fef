"""Builds a data set: seeded shards of JSON lines in the released form, the pictures that they name, and a report.

A sample is a function of the recipe and its number alone, so a build that was cut goes on to the same files.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.conversation import Conversation, UserTurn
from planner.data.desk import ChoiceMade, Desk, Supplies, Voice
from planner.data.labels import LabelledPicture, LabelledPictures, Vocabulary
from planner.data.phrasebook import Phrasebook, Rewrite, general_nouns
from planner.data.recipe import DataError, DataRecipe
from planner.data.released import to_sample
from planner.data.results import NoResult, SkillResults
from planner.data.rows import ROWS
from planner.data.rows.base import Row
from planner.data.validation import Refused, Validator, normalised_request
from services.core.registry import Registry

PICTURES = "pictures"
DATA = "data.jsonl"
RECIPE = "recipe.json"
_INSTALLED = Path(__file__).parents[2]
_TRIES = 12
_GOLDEN = 0.618034
"""Steps of this share of a deck spread the places at which shards start, so that a few shards use most wordings."""


@dataclass(frozen=True)
class Source:
    """Pictures with their share of conversations and what their vocabulary is."""

    pictures: LabelledPictures
    vocabulary: Vocabulary
    weight: float = 1.0


class Builder:
    """Builds one data set into `folder`.

    Args:
        results: the skills' results, for each source.
        rewrite: words requests anew; None for the built-in grammar alone.
        written: rows that a text model writes.
        tell: is given a line of progress after each shard.
    """

    def __init__(
        self,
        recipe: DataRecipe,
        folder: Path,
        sources: Sequence[Source],
        results: Sequence[SkillResults],
        registry: Registry,
        *,
        rewrite: Rewrite | None = None,
        written: Sequence[Row] = (),
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._sources = sources
        self._rewrite = rewrite
        self._tell = tell
        voice = Voice(recipe.brief, recipe.thoughts)
        general = general_nouns()
        self._supplies = [
            Supplies(source.vocabulary, general, answers, registry, voice)
            for source, answers in zip(sources, results, strict=True)
        ]
        self._rows = self._chosen_rows({row.name: row for row in (*ROWS.values(), *written)})
        forbidden = evaluation_requests(recipe.evaluation)
        self._validator = Validator(registry, recipe.skills, chars_max=recipe.chars_max, forbidden=forbidden)

    def run(self) -> Path:
        """Build what is missing and put the shards together; returns the file of all samples.

        Raises:
            DataError: the folder holds another recipe's data.
        """
        self._claim()
        size = self._recipe.shard_samples
        shards = [
            range(start, min(start + size, self._recipe.samples)) for start in range(0, self._recipe.samples, size)
        ]
        started, made = time.monotonic(), 0
        for number, shard in enumerate(shards):
            path = self._shard(number)
            if path.exists():
                continue
            self._build(number, shard)
            made += len(shard)
            left = (time.monotonic() - started) / made * (self._recipe.samples - shard.stop)
            self._tell(f"{shard.stop} of {self._recipe.samples} samples, {left:.0f} s left")
        return self._joined(len(shards))

    def _claim(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / RECIPE
        written = self._recipe.model_dump_json(indent=1) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") != written:
            raise DataError(f"{self._folder} holds data of another recipe: choose another folder or remove it.")
        path.write_text(written, encoding="utf-8")

    def _build(self, number: int, shard: range) -> None:
        book = Phrasebook(self._recipe.seed, number * _GOLDEN % 1.0)
        refused: Counter[str] = Counter()
        lines = [json.dumps(self.sample(index, book, refused), ensure_ascii=False) for index in shard]
        counts = self._folder / f"refused-{number:05}.json"
        counts.write_text(json.dumps(refused), encoding="utf-8")
        partial = self._shard(number).with_suffix(".part")
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.rename(self._shard(number))

    def sample(self, index: int, book: Phrasebook, refused: Counter[str]) -> dict[str, Any]:
        """Sample `index`. What cannot be made is counted in `refused`, and the next try is about another picture."""
        rng = random.Random(f"{self._recipe.seed} {index}")
        weights = [row_weight for _, row_weight in self._rows]
        for attempt in range(_TRIES * 10):
            if attempt % _TRIES == 0:
                row = rng.choices([row for row, _ in self._rows], weights)[0]
            number = rng.choices(range(len(self._sources)), [source.weight for source in self._sources])[0]
            desk = self._desk(number, rng, book, row)
            try:
                conversation = self._conversation(row, desk)
                self._validator.check(conversation, desk.without, desk.mistaken)
            except (NoResult, Refused) as error:
                refused[f"{row.name}: {error}"] += 1
                continue
            for picture in desk.pictures or (desk.picture,):
                self._save(picture, conversation)
            sample = to_sample(f"{self._recipe.name}_{index:06}", conversation)
            return sample | {"row": row.name, "skills": desk.skills, **_marks(row, desk)}
        raise DataError(f"No row of the recipe fits the pictures: {refused.most_common(1)[0][0]}.")

    def _conversation(self, row: Row, desk: Desk) -> Conversation:
        with suppress(ChoiceMade):
            row.build(desk)
        return desk.conversation

    def _desk(self, number: int, rng: random.Random, book: Phrasebook, row: Row) -> Desk:
        pictures = self._sources[number].pictures

        def draw() -> LabelledPicture:
            drawn = pictures[rng.randrange(len(pictures))]
            return replace(drawn, name=f"{PICTURES}/{drawn.name}")

        beyond = rng.random() < self._recipe.choice_share
        return Desk(
            rng,
            draw(),
            book,
            self._supplies[number],
            choice_only=beyond and not row.whole,
            beyond=beyond,
            may_end=not row.whole,
            others=draw,
            rewrite=self._rewrite,
        )

    def _save(self, picture: LabelledPicture, conversation: Conversation) -> None:
        shown = [name for turn in conversation if isinstance(turn, UserTurn) for name in turn.images]
        if picture.name not in shown or picture.pixels is None:
            return
        path = self._folder / picture.name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_stem(f"{path.stem}.part")  # a build that is cut leaves no half of a picture
            picture.pixels().save(partial, quality=88)
            partial.rename(path)

    def _chosen_rows(self, known: Mapping[str, Row]) -> list[tuple[Row, float]]:
        offered = self._recipe.skills
        rows = [
            (known[name], weight)
            for name, weight in self._recipe.rows.items()
            if weight and (offered is None or set(known[name].skills) <= set(offered))
        ]
        if not rows:
            raise DataError("No row of the recipe gets by with its skills: add skills or rows.")
        return rows

    def _shard(self, number: int) -> Path:
        return self._folder / f"shard-{number:05}.jsonl"

    def _joined(self, shards: int) -> Path:
        path = self._folder / DATA
        partial = path.with_suffix(".part")
        with partial.open("w", encoding="utf-8") as out:
            for number in range(shards):
                out.write(self._shard(number).read_text(encoding="utf-8"))
        partial.rename(path)
        return path


def _marks(row: Row, desk: Desk) -> dict[str, Any]:
    """What training has to know of the conversation: see `planner.train.samples.Loaded`."""
    marks: dict[str, Any] = {"whole": True} if row.whole else {}
    if desk.without:
        marks["without"] = list(desk.without)
    return marks | ({"mistaken": desk.mistaken} if desk.mistaken else {})


def evaluation_requests(patterns: Sequence[str]) -> frozenset[str]:
    """Normalised requests of evaluation files: JSON lines with a `text`.

    Args:
        patterns: relative to the working directory, or else to the folder that this package is installed in.

    Raises:
        DataError: no file is of a pattern: without it nothing would be refused, and nobody would know.
    """
    found = set()
    for pattern in patterns:
        files = _files(pattern)
        if not files:
            raise DataError(
                f"evaluation: no file is called {pattern}: requests could not be told from those of a score."
            )
        for path in files:
            for line in path.read_text(encoding="utf-8").split("\n"):
                if line.strip():
                    found.add(normalised_request(str(json.loads(line).get("text", ""))))
    return frozenset(found - {""})


def _files(pattern: str) -> list[Path]:
    given = Path(pattern)
    if given.is_absolute():
        return sorted(Path(given.anchor).glob(str(given.relative_to(given.anchor))))
    return sorted(Path().glob(pattern)) or sorted(_INSTALLED.glob(pattern))
