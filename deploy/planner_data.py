"""Where planner data meets skills and the embedded world: sources of pictures and results by a recipe's names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import planner.data
from planner.data.build import Builder, Source
from planner.data.dialogues import WrittenDialogues
from planner.data.exact import ExactResults, Noise
from planner.data.gateway_results import GatewayResults
from planner.data.labels import LabelledObject, LabelledPicture, LabelledPictures, Mask, Noun, Vocabulary
from planner.data.llava.written import llava_rows
from planner.data.readers import read
from planner.data.recipe import DataError, DataRecipe, PictureSettings
from planner.data.report import write_report
from planner.data.results import SkillResults
from planner.data.rewriting import Rewriter
from planner.data.rows import Row
from planner.data.text_model import EndpointModel, TextModel
from services.core.registry import Registry, discover
from services.embedded.world.cache import DONE, SceneCache, StaleCache
from services.embedded.world.concepts import COLOURS, CONCEPT, CONCEPTS, TRAIN_SEED, TRAIN_STYLES
from services.embedded.world.language import caption, plain_caption
from services.embedded.world.render import Rendered, SeenObject
from services.embedded.world.sprites import WorldNotReady, world_folder

if TYPE_CHECKING:
    from deploy.planner_skills import LocalResults

SCENES = 30_000
_CAPTIONS = 2


def world_pictures(
    folder: Path, report: Callable[[str], None] = lambda line: None, count: int | None = None
) -> WorldPictures:
    """The training scenes of the embedded world, `count` or more, rendered into `folder` where they are not there yet.

    Without `count` those that are there will do, however many.

    Raises:
        StaleCache, WorldNotReady: the scenes cannot be had; the message says what to do.
    """
    done = folder / "train"
    if (done / DONE).is_file():
        cache = SceneCache(done)
        if len(cache) >= (count or 0):
            return WorldPictures(cache)
    return WorldPictures(SceneCache.build(done, count or SCENES, TRAIN_SEED, TRAIN_STYLES, report=report))


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


RECIPES = Path(planner.data.__file__).parent / "recipes"


@dataclass(frozen=True)
class BuildRequest:
    """What `llava-plus data build` is asked for.

    Attributes:
        recipe: a file, or the name of a built-in recipe.
        out: the folder; `runs/data/NAME` without it.
        samples: in place of the recipe's number.
        world: folder of rendered scenes.
    """

    recipe: str
    out: Path | None = None
    samples: int | None = None
    world: Path | None = None


def build_data(request: BuildRequest, tell: Callable[[str], None]) -> Path:
    """Build a data set and its report; returns the report's page.

    Raises:
        DataError: the recipe or the folder has a mistake, or pictures, skills or the text model cannot be had.
    """
    recipe = DataRecipe.load(_recipe_file(request.recipe))
    if request.samples is not None:
        recipe = recipe.model_copy(update={"samples": request.samples})
    folder = request.out or Path("runs") / "data" / recipe.name
    registry = discover()
    sources = [_source(settings, request.world, tell) for settings in recipe.pictures]
    with ExitStack() as stack:
        results = stack.enter_context(skill_results(recipe, registry))
        model = stack.enter_context(text_model(recipe, folder))
        rewrite = Rewriter(model, recipe.words.share) if model and recipe.words.by == "model" else None
        Builder(
            recipe,
            folder,
            sources,
            [results] * len(sources),
            registry,
            rewrite=rewrite,
            written=_written_rows(model, recipe, registry) if model else (),
            tell=tell,
        ).run()
    return write_report(folder)


def _recipe_file(name: str) -> Path:
    """A built-in recipe's file, or the file itself. Raises `DataError` for neither."""
    found = next((path for path in (RECIPES / f"{name}.yaml", Path(name)) if path.is_file()), None)
    if found is None:
        built_in = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
        raise DataError(f"There is no recipe {name!r}: give a YAML file, or one of {built_in}.")
    return found


def _source(settings: PictureSettings, world: Path | None, tell: Callable[[str], None]) -> Source:
    if settings.source != "world":
        found = read(settings)
        return Source(_Some(found, settings.count), found.vocabulary, settings.weight)
    try:
        pictures = world_pictures(world or world_folder(), tell, settings.count).first(settings.count)
    except (WorldNotReady, StaleCache) as error:
        raise DataError(str(error)) from None
    return Source(pictures, world_vocabulary(), settings.weight)


class _Some:
    """The first pictures of a source."""

    def __init__(self, pictures: LabelledPictures, count: int | None) -> None:
        self._pictures = pictures
        self._count = min(count or len(pictures), len(pictures))
        if not self._count:
            raise DataError("A source has no pictures.")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> LabelledPicture:
        return self._pictures[index]


@contextmanager
def skill_results(recipe: DataRecipe, registry: Registry) -> Iterator[SkillResults]:
    """Where the recipe's results come from."""
    if recipe.results == "labels":
        yield ExactResults(Noise(**recipe.noise.model_dump()), world_facts())
        return
    results: GatewayResults | LocalResults
    if recipe.results == "gateway":
        assert recipe.gateway_url is not None, "the recipe is checked when it is read"
        results = GatewayResults(recipe.gateway_url, registry, api_key=os.environ.get("LLAVA_PLUS_API_KEY"))
    else:
        from deploy.planner_skills import LocalResults

        results = LocalResults(registry)
    try:
        yield results
    finally:
        results.close()


@contextmanager
def text_model(recipe: DataRecipe, folder: Path) -> Iterator[TextModel | None]:
    """The recipe's text model, None where it needs none. Answers are kept in `answers.jsonl` of the folder."""
    if recipe.words.endpoint is None:
        yield None
        return
    key = os.environ.get("LLAVA_PLUS_DATA_API_KEY")
    model = EndpointModel(recipe.words.endpoint, folder / "answers.jsonl", api_key=key)
    try:
        yield model
    finally:
        model.close()


def _written_rows(model: TextModel, recipe: DataRecipe, registry: Registry) -> list[Row]:
    offered = [spec for spec in registry.specs() if recipe.skills is None or spec.name in recipe.skills]
    return [WrittenDialogues(model, offered), *llava_rows(model)]
