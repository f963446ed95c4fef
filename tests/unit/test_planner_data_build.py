"""Building data sets: the same recipe gives the same files, cut or not; the report counts what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gateway.orchestrator.events import TurnRequest
from gateway.orchestrator.gallery import Gallery
from gateway.orchestrator.question import question_text
from planner.conversation import UserTurn
from planner.data.build import DATA, PICTURES, evaluation_requests
from planner.data.duplicates import near_duplicates
from planner.data.recipe import DataError, DataRecipe
from planner.data.released import to_conversation
from planner.data.report import FIGURES, write_report
from planner.data.rows.two_pictures import NAMES
from tests.planner_data_scenes import builder, recipe, registry

RECIPES = Path(__file__).parents[2] / "planner" / "data" / "recipes"


def test_a_build_makes_valid_samples_with_their_pictures(tmp_path: Path) -> None:
    data = builder(tmp_path, recipe()).run()
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    assert len(rows) == 24
    assert len({row["id"] for row in rows}) == 24
    for row in rows:
        assert to_conversation(row)
        if "image" in row:
            with Image.open(tmp_path / row["image"]) as shown:
                assert shown.size == (64, 64)


def test_a_build_that_was_cut_goes_on_to_the_same_files(tmp_path: Path) -> None:
    whole = builder(tmp_path / "whole", recipe()).run().read_text()
    builder(tmp_path / "cut", recipe()).run()
    for lost in ("shard-00001.jsonl", DATA):
        (tmp_path / "cut" / lost).unlink()
    kept = (tmp_path / "cut" / "shard-00002.jsonl").stat().st_mtime_ns
    assert builder(tmp_path / "cut", recipe()).run().read_text() == whole
    assert (tmp_path / "cut" / "shard-00002.jsonl").stat().st_mtime_ns == kept


def test_another_seed_gives_other_samples(tmp_path: Path) -> None:
    one = builder(tmp_path / "one", recipe(seed=1)).run().read_text()
    assert builder(tmp_path / "two", recipe(seed=2)).run().read_text() != one


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    builder(tmp_path, recipe()).run()
    with pytest.raises(DataError, match="another recipe"):
        builder(tmp_path, recipe(seed=9)).run()


def test_rows_that_need_skills_which_are_not_offered_are_left_out(tmp_path: Path) -> None:
    data = builder(tmp_path, recipe(skills=["grounding_dino"])).run()
    assert {json.loads(line)["row"] for line in data.read_text().splitlines()} == {"detection", "conversation"}


def test_a_recipe_without_a_possible_row_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="add skills or rows"):
        builder(tmp_path, recipe(skills=["sam"], rows={"detection": 1}))


def test_requests_of_evaluation_sets_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = recipe(rows={"impossible": 1}, samples=12)
    first = builder(tmp_path / "a", only).run()
    used = to_conversation(json.loads(first.read_text().splitlines()[0]))[0]
    assert isinstance(used, UserTurn)
    (tmp_path / "held.jsonl").write_text(json.dumps({"text": used.text.upper()}) + "\n")
    monkeypatch.chdir(tmp_path)
    assert evaluation_requests(["*.jsonl"])
    again = builder(tmp_path / "b", only.model_copy(update={"evaluation": ("held.jsonl",)})).run()
    asked = [to_conversation(json.loads(line))[0] for line in again.read_text().splitlines()]
    assert used.text not in [turn.text for turn in asked if isinstance(turn, UserTurn)]


def test_evaluation_files_are_found_from_anywhere_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held.jsonl").write_text('{"text": "One\u2028more."}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(evaluation_requests(DataRecipe.load(RECIPES / "embedded.yaml").evaluation)) > 500
    assert evaluation_requests([str(tmp_path / "*.jsonl")]) == {"one more"}
    with pytest.raises(DataError, match=r"evaluation: no file is called nothing/\*\.jsonl"):
        builder(tmp_path / "a", recipe(evaluation=["nothing/*.jsonl"]))


def test_a_picture_that_a_cut_build_left_half_written_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    first = builder(tmp_path, recipe())
    with monkeypatch.context() as stopped:
        stopped.setattr(Image.Image, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            first.run()
    builder(tmp_path, recipe()).run()
    pictures = [path for path in (tmp_path / PICTURES).iterdir() if ".part" not in path.name]
    assert pictures
    for path in pictures:
        with Image.open(path) as whole:
            whole.load()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_shipped_recipes_can_be_read(path: Path) -> None:
    assert DataRecipe.load(path).name


def test_the_embedded_recipe_has_a_row_for_every_skill() -> None:
    from planner.data.rows import ROWS

    rows = DataRecipe.load(RECIPES / "embedded.yaml").rows
    assert {skill for row in rows for skill in ROWS[row].skills} >= {spec.name for spec in registry().specs()}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"rows": {"nonsense": 1}}, "there is no row 'nonsense'"),
        ({"rows": {"detection": 0}}, "one at least"),
        ({"rows": {"dialogues": 1}}, "endpoint"),
        ({"results": "gateway"}, "gateway_url"),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    import yaml

    path = tmp_path / "recipe.yaml"
    given = {"name": "x", "samples": 1, "rows": {"detection": 1}, "pictures": [{"source": "world"}]}
    path.write_text(yaml.safe_dump(given | more))
    with pytest.raises(DataError, match=words):
        DataRecipe.load(path)


def test_the_report_counts_and_shows_samples(tmp_path: Path) -> None:
    builder(tmp_path, recipe()).run()
    page = write_report(tmp_path).read_text()
    figures = json.loads((tmp_path / FIGURES).read_text())
    assert figures["samples"] == 24 == sum(figures["rows"].values())
    assert "Detection and grounding" in page
    assert f"{PICTURES}/" in page
    assert "<rect" in page


def test_a_report_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data build"):
        write_report(tmp_path)


def test_texts_that_differ_in_a_word_are_near_duplicates() -> None:
    texts = ["please find the small dog in this picture", "please find the small dog in the picture", "draw a cat"]
    assert [(pair.first, pair.second) for pair in near_duplicates(texts)] == [(0, 1)]
    assert [(pair.first, pair.second) for pair in near_duplicates(texts[:1], texts[1:])] == [(0, 0)]


def test_two_pictures_have_the_gateways_names() -> None:
    handles = ("img_" + "0" * 40, "img_" + "1" * 40)
    request = TurnRequest(text="Compare.", images=handles)
    assert question_text(request, Gallery().with_pictures(handles)) == f"Compare.\n{NAMES}"
