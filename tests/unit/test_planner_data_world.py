"""Planner data from the embedded world: exact labels, all rows, the command, and real skills as a source of results."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.planner_data import RECIPES, WorldPictures, build_data, world_facts, world_vocabulary
from deploy.planner_data import BuildRequest as Request
from deploy.planner_skills import LocalResults
from planner.data.build import Builder, Source
from planner.data.exact import ExactResults
from planner.data.recipe import DataError, DataRecipe
from planner.data.results import Asked, NoResult, told
from services.embedded.training.publish import CARD, weights_folder
from services.embedded.world.cache import SceneCache
from services.embedded.world.render import render
from services.embedded.world.scene import sample_scene, scene_rng
from tests.planner_data_scenes import SILENT, registry
from tests.world_sprites import shapes_atlas

SCENES = 40


@pytest.fixture(scope="module")
def pictures() -> WorldPictures:
    atlas = shapes_atlas()
    scenes = [render(sample_scene(scene_rng(5, index), atlas.styles), 128, atlas) for index in range(SCENES)]
    return WorldPictures(scenes)


def test_scenes_have_their_exact_labels(pictures: WorldPictures) -> None:
    for index in range(len(pictures)):
        one = pictures[index]
        assert one.name == f"world_{index:06}.jpg"
        assert one.captions
        assert one.pixels is not None
        assert one.pixels().size == one.size
        for item in one.objects:
            assert item.mask is not None
            assert item.mask().mean() == pytest.approx(item.area, abs=1e-6)
            rows, columns = np.nonzero(item.mask())
            assert item.box[0] * one.size[0] == pytest.approx(columns.min())
            assert item.box[3] * one.size[1] == pytest.approx(rows.max() + 1)
        for item in one.objects:
            assert one.named(item.noun.name)


def test_the_words_of_a_sign_are_lines_of_its_picture(pictures: WorldPictures) -> None:
    texts = [item.text for index in range(SCENES) for item in pictures[index].objects if item.text]
    lines = [line for index in range(SCENES) for line, _ in pictures[index].lines]
    assert texts
    assert "\n".join(lines) == "\n".join(texts)


def test_the_embedded_recipe_builds_every_row_from_scenes(pictures: WorldPictures, tmp_path: Path) -> None:
    recipe = DataRecipe.load(RECIPES / "embedded.yaml").model_copy(update={"samples": 400, "evaluation": ()})
    source = Source(pictures, world_vocabulary())
    results = ExactResults(SILENT, world_facts())
    data = Builder(recipe, tmp_path, [source], [results], registry()).run()
    rows = Counter(json.loads(line)["row"] for line in data.read_text().splitlines())
    assert rows.keys() == recipe.rows.keys()


def test_the_command_builds_a_recipe_of_its_own(tmp_path: Path) -> None:
    atlas = shapes_atlas()
    SceneCache.build(tmp_path / "world" / "train", 12, 1, atlas.styles, size=64, atlas=atlas)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\nsamples: 9\nrows: {detection: 1, knowledge: 1}\npictures: [{source: world, count: 8}]\n"
    )
    command = ["data", "build", str(recipe), "--out", str(tmp_path / "out"), "--world", str(tmp_path / "world")]
    built = CliRunner().invoke(app, command)
    assert built.exit_code == 0, built.output
    assert "9 of 9 samples" in built.output
    assert (tmp_path / "out" / "report.html").is_file()
    assert len((tmp_path / "out" / "data.jsonl").read_text().splitlines()) == 9


def test_the_command_lists_rows_and_reports_again(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["data", "rows"])
    assert "multi_granularity" in listed.output
    nothing = CliRunner().invoke(app, ["data", "report", str(tmp_path)])
    assert "data build" in str(nothing.exception)


def test_the_command_converts_and_filters(tmp_path: Path) -> None:
    llava = tmp_path / "llava.json"
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A dog."}]
    llava.write_text(json.dumps([{"id": "1", "image": "1.jpg", "conversations": turns}]))
    done = CliRunner().invoke(app, ["data", "convert", str(llava), str(tmp_path / "a.jsonl")])
    assert done.output.startswith("1 samples")
    captions = tmp_path / "cc.tsv"
    captions.write_text("a dog\t1.jpg\na dog\t2.jpg\na dog\t3.jpg\nan owl\t4.jpg\n")
    done = CliRunner().invoke(app, ["data", "pairs", str(captions), str(tmp_path / "b.jsonl")])
    assert done.output.startswith("3 pairs")


def test_a_recipe_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"no recipe .nowhere.*embedded"):
        build_data(Request("nowhere.yaml"), print)


@pytest.mark.skipif(
    not (weights_folder() / "grounding_dino" / CARD).is_file(), reason="the embedded detector is not published"
)
def test_real_skills_give_results_of_their_schema() -> None:
    from planner.data.labels import LabelledPicture

    path = Path(__file__).parents[1] / "data" / "scenes" / "beach.webp"
    with Image.open(path) as scene:
        pixels = scene.convert("RGB")
    one = LabelledPicture("beach.jpg", pixels.size, pixels=lambda: pixels)
    names = {item["concept"] for item in json.loads(path.with_suffix(".json").read_text())["objects"]}
    results = LocalResults(registry())
    try:
        raw = results.call(Asked("grounding_dino", {"caption": " . ".join(sorted(names))}, one))
        shown = told(registry(), "grounding_dino", raw)
        assert set(shown.brief["phrases"]) <= names
        with pytest.raises(NoResult, match="do not fit"):
            results.call(Asked("grounding_dino", {}, one))
    finally:
        results.close()
