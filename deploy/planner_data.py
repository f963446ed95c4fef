"""Where planner data meets skills and the embedded world: sources of pictures and results by a recipe's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from planner.data.labels import LabelledObject, LabelledPicture, Mask, Noun, Vocabulary
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import COLOURS, CONCEPT, CONCEPTS, TRAIN_SEED, TRAIN_STYLES
from services.embedded.world.language import caption, plain_caption
from services.embedded.world.render import Rendered, SeenObject

SCENES = 30_000
_CAPTIONS = 2


def world_pictures(folder: Path, report: Callable[[str], None] = lambda line: None) -> WorldPictures:
    """The training scenes of the embedded world, rendered into `folder` where they are not there yet."""
    done = folder / "train"
    cache = SceneCache(done) if (done / "DONE").is_file() else None
    cache = cache or SceneCache.build(done, SCENES, TRAIN_SEED, TRAIN_STYLES, report=report)
    return WorldPictures(cache)


def world_vocabulary() -> Vocabulary:
    """What the embedded world is made of."""
    coloured = frozenset(concept.name for concept in CONCEPTS if concept.coloured)
    return Vocabulary(tuple(_noun(concept.name) for concept in CONCEPTS), coloured, COLOURS)


def world_facts() -> dict[str, Sequence[str]]:
    """What is known of each concept."""
    return {concept.name: concept.facts for concept in CONCEPTS}


class WorldPictures:
    """Scenes with their exact labels; implements `LabelledPictures`."""

    def __init__(self, scenes: Sequence[Rendered], name: str = "world", count: int | None = None) -> None:
        self._scenes = scenes
        self._name = name
        self._count = min(count or len(scenes), len(scenes))

    def first(self, count: int | None) -> WorldPictures:
        """The first `count` scenes."""
        return WorldPictures(self._scenes, self._name, count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> LabelledPicture:
        drawn = self._scenes[index]
        rng = np.random.default_rng(index)
        height, width = drawn.image.shape[:2]
        return LabelledPicture(
            name=f"{self._name}_{index:06}.jpg",
            size=(width, height),
            objects=tuple(_object(drawn, number, item) for number, item in enumerate(drawn.objects)),
            scene=drawn.scene.background,
            captions=(plain_caption(drawn), *(caption(drawn, rng) for _ in range(_CAPTIONS))),
            lines=tuple(line for item in drawn.objects if item.text for line in _lines(item)),
            pixels=partial(_pixels, drawn),
        )


def _object(drawn: Rendered, number: int, item: SeenObject) -> LabelledObject:
    concept = CONCEPT[item.concept]
    return LabelledObject(
        noun=_noun(item.concept),
        box=item.box,
        area=item.area,
        colour=item.colour,
        category=concept.category if concept.category not in ("object", "figure", "sport") else None,
        text=item.text,
        mask=partial(drawn.mask, number),
        levels=partial(_levels, drawn, number),
        facts=concept.facts,
    )


def _noun(name: str) -> Noun:
    concept = CONCEPT[name]
    return Noun(concept.name, concept.plural, concept.singular)


def _levels(drawn: Rendered, number: int) -> list[Mask]:
    """A part, the object and its group, as far as they differ."""
    parts = drawn.part_masks(number)
    found = [max(parts, key=lambda mask: int(mask.sum()))] if len(parts) > 1 else []
    found.append(drawn.mask(number))
    if drawn.objects[number].group is not None:
        found.append(drawn.group_mask(number))
    return found


def _lines(item: SeenObject) -> list[tuple[str, tuple[float, float, float, float]]]:
    words = str(item.text).split("\n")
    x0, y0, x1, y1 = item.box
    step = (y1 - y0) * 0.6 / len(words)
    return [(text, (x0, y0 + row * step, x1, min(y0 + (row + 0.9) * step, 1.0))) for row, text in enumerate(words)]


def _pixels(drawn: Rendered) -> Image.Image:
    return Image.fromarray(np.asarray(drawn.image))
