"""A labelled picture that needs no sprites, and what data is built from in tests."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from planner.conversation import Conversation
from planner.data.build import Builder, Source
from planner.data.desk import ChoiceMade, Desk, Supplies, Voice
from planner.data.exact import ExactResults, Noise
from planner.data.labels import Box, LabelledObject, LabelledPicture, Mask, Noun, Vocabulary
from planner.data.phrasebook import Phrasebook, general_nouns
from planner.data.recipe import DataRecipe
from planner.data.results import NoResult
from planner.data.rows import Row
from planner.data.validation import Validator
from services.core.registry import Registry, discover

DOG, CAT = Noun("dog", "dogs"), Noun("cat", "cats")
CAR, APPLE = Noun("car", "cars"), Noun("apple", "apples")
SIGN, BREAD = Noun("sign", "signs"), Noun("bread", "loaves of bread", "loaf of bread")
VOCABULARY = Vocabulary((DOG, CAT, CAR, APPLE, SIGN, BREAD), frozenset({"car"}))
FACTS = {"dog": ("Dogs bark.",), "cat": ("Cats purr.",)}
SILENT = Noise(0.0, 0.0, 0.0, 0.0)
SIDE = 64


@lru_cache
def registry() -> Registry:
    """All installed skills, looked for once."""
    return discover()


def thing(noun: Noun, box: Box, **more: Any) -> LabelledObject:
    """Something that fills its box."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    mask = partial(_filled, box)
    return LabelledObject(noun, box, area, mask=mask, levels=partial(_levels, box), **more)


def picture(name: str = "one.jpg", **more: Any) -> LabelledPicture:
    """Two dogs on the left, a red car at the bottom right and a sign, on a beach."""
    objects = (
        thing(DOG, (0.05, 0.4, 0.25, 0.6), category="animal", facts=("Dogs bark.", "Dogs smell well.")),
        thing(DOG, (0.05, 0.7, 0.2, 0.9), category="animal", facts=("Dogs bark.", "Dogs smell well.")),
        thing(CAR, (0.6, 0.65, 0.95, 0.95), colour="red", category="vehicle"),
        thing(SIGN, (0.4, 0.1, 0.6, 0.3), text="OPEN"),
    )
    given: dict[str, Any] = {
        "objects": objects,
        "scene": "beach",
        "captions": ("two dogs and a red car on a beach",),
        "lines": (("OPEN", (0.4, 0.1, 0.6, 0.2)),),
        "pixels": lambda: Image.new("RGB", (SIDE, SIDE)),
    }
    return LabelledPicture(name, (SIDE, SIDE), **(given | more))


def desk(
    seed: int = 0,
    shown: LabelledPicture | None = None,
    *,
    choice_only: bool = False,
    voice: Voice | None = None,
    noise: Noise = SILENT,
    others: Callable[[], LabelledPicture] | None = None,
) -> Desk:
    """A desk with the picture and exact results."""
    supplies = Supplies(VOCABULARY, general_nouns(), ExactResults(noise, FACTS), registry(), voice or Voice())
    return Desk(
        random.Random(seed), shown or picture(), Phrasebook(seed), supplies, choice_only=choice_only, others=others
    )


def _filled(box: Box) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    x0, y0, x1, y1 = (round(side * SIDE) for side in box)
    mask[y0:y1, x0:x1] = True
    return mask


def _levels(box: Box) -> list[Mask]:
    return [_filled((box[0], box[1], (box[0] + box[2]) / 2, box[3])), _filled(box)]


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe(**more: Any) -> DataRecipe:
    given: dict[str, Any] = {
        "name": "small",
        "samples": 24,
        "shard_samples": 10,
        "rows": {"detection": 1, "wishes": 1, "conversation": 1, "generation": 1},
        "pictures": [{"source": "world"}],
    }
    return DataRecipe.model_validate(given | more)


def builder(folder: Path, chosen: DataRecipe, written: Sequence[Row] = ()) -> Builder:
    pictures = [picture(f"{index}.jpg") for index in range(5)]
    source = Source(pictures, VOCABULARY)
    return Builder(chosen, folder, [source], [ExactResults(SILENT, FACTS)], registry(), written=written)


def built(build: Callable[[Desk], None]) -> Iterator[Conversation]:
    """Conversations that a kind of row makes, one for each of 80 seeds with which it can; all are valid."""
    for seed in range(80):
        one = desk(seed)
        try:
            with suppress(ChoiceMade):
                build(one)
        except NoResult:
            continue
        Validator(registry()).check(one.conversation)
        yield one.conversation
