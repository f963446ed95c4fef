"""What the embedded world says about its scenes, how it changes them, and the example scenes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.core.types import MaskRLE
from services.embedded.world.concepts import BACKGROUNDS, NAMES, TRAIN_STYLES
from services.embedded.world.edits import KINDS as EDIT_KINDS
from services.embedded.world.edits import OBJECT_EDITS, SCENE_EDITS, EditPair, sample_edit
from services.embedded.world.labels import SEMANTIC_CLASSES, detection_phrases, phrase_objects, semantic_map, tags
from services.embedded.world.language import (
    PLACES,
    article,
    caption,
    counted,
    listed,
    named_concepts,
    named_scene,
    plain_caption,
)
from services.embedded.world.questions import KINDS, position, questions
from services.embedded.world.render import Rendered, SeenObject, render
from services.embedded.world.scene import Scene, SceneObject, sample_scene, scene_rng
from tests.world_sprites import shapes_atlas

STYLES = TRAIN_STYLES[:2]
EXAMPLES = Path(__file__).parents[1] / "data" / "scenes"


def drawn(index: int) -> Rendered:
    return render(sample_scene(scene_rng(12, index), STYLES), 96, shapes_atlas())


def scene(*objects: SceneObject, background: str = "beach") -> Rendered:
    return render(Scene(background, 1, objects), 128, shapes_atlas())


def thing(concept: str, x: float, colour: str | None = None, **more: object) -> SceneObject:
    return SceneObject(concept, STYLES[0], colour, x, 0.6, 0.22, **more)  # type: ignore[arg-type]


def sign(text: str) -> SceneObject:
    return SceneObject("sign", "", None, 0.5, 0.3, 0.5, text=text)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        (counted("car", 1, "red"), "a red car"),
        (counted("car", 1, "orange"), "an orange car"),
        (counted("mouse", 2), "two mice"),
        (counted("bread", 3), "three loaves of bread"),
        (counted("sheep", 4), "four sheep"),
        (counted("fox", 2), "two foxes"),
        (counted("ice cream", 1), "an ice cream"),
        (counted("umbrella", 1), "an umbrella"),
        (counted("unicorn", 1), "a unicorn"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (article("owl"), "an owl"),
    ],
)
def test_noun_phrases_are_english(phrase: str, expected: str) -> None:
    assert phrase == expected


def test_the_plain_caption_counts_like_objects_together() -> None:
    picture = scene(thing("car", 0.15, "red"), thing("car", 0.5, "red"), thing("dog", 0.85))
    assert plain_caption(picture) == "two red cars and a dog on a beach"
    assert plain_caption(scene(sign("Open\nToday"))) == 'a sign that says "open today" on a beach'
    assert plain_caption(scene(background="underwater")) == "nothing under water"


def test_every_caption_names_the_background_and_every_object() -> None:
    rng = np.random.default_rng(0)
    said = set()
    for index in range(60):
        picture = drawn(index)
        for text in (plain_caption(picture), *(caption(picture, rng) for _ in range(4))):
            assert named_concepts(text) == {item.concept for item in picture.objects}, text
            assert named_scene(text) == picture.scene.background, text
            said.add(text)
    assert len(said) > 150


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_way_to_name_a_background_is_understood(background: str) -> None:
    for words in PLACES[background]:
        assert named_scene(f"a dog {words}") == background


def test_what_a_sign_says_is_not_taken_for_what_is_there() -> None:
    assert named_concepts('a sign that says "dog night" and two foxes') == {"sign", "fox"}
    assert named_scene('a sign that says "beach" in a room') == "room"
    assert named_scene("a dog") is None


def test_tags_and_semantic_classes_are_the_backgrounds_and_concepts() -> None:
    assert SEMANTIC_CLASSES == BACKGROUNDS + NAMES
    picture = scene(thing("dog", 0.2), thing("dog", 0.8), thing("apple", 0.5))
    assert tags(picture) == ["beach", "dog", "apple"]
    classes = semantic_map(picture)
    assert classes.shape == picture.instances.shape
    assert {SEMANTIC_CLASSES[index] for index in np.unique(classes)} == set(tags(picture))
    assert SEMANTIC_CLASSES[classes[0, 0]] == "beach"


def test_a_phrase_with_a_colour_means_only_objects_of_that_colour() -> None:
    picture = scene(thing("car", 0.2, "red"), thing("car", 0.8, "blue"))
    assert phrase_objects(picture, "car") == (0, 1)
    assert phrase_objects(picture, "blue car") == (1,)
    assert phrase_objects(picture, "green car") == ()
    assert phrase_objects(picture, "dog") == ()


def test_detection_phrases_cover_all_objects_and_some_that_are_absent() -> None:
    for index in range(40):
        picture = drawn(index)
        found = detection_phrases(picture, np.random.default_rng(index))
        assert len(set(found.phrases)) == len(found.phrases)
        assert {number for objects in found.objects for number in objects} == set(range(len(picture.objects)))
        assert sum(not objects for objects in found.objects) == 3
        assert found.prompt.endswith(" .")
        assert found.prompt.count(" .") == len(found.phrases)


def test_questions_have_true_answers() -> None:
    kinds: Counter[str] = Counter()
    yes: Counter[str] = Counter()
    for index in range(150):
        picture = drawn(index)
        present = Counter(item.concept for item in picture.objects)
        for asked in questions(picture, np.random.default_rng(index)):
            kinds[asked.kind] += 1
            named = named_concepts(asked.question)
            if asked.kind == "scene":
                assert asked.answer == picture.scene.background
            if asked.kind == "presence":
                yes[asked.answer] += 1
                assert (asked.answer == "yes") == bool(named & set(present))
            if asked.kind == "count":
                number = present[next(iter(named))]
                assert asked.answer == ("none", "one", "two", "three", "four", "five", "six")[number]
            if asked.kind == "text":
                assert asked.answer in {" ".join((item.text or "").lower().split()) for item in picture.objects}
            if asked.kind == "colour":
                item = next(item for item in picture.objects if item.concept in named)
                assert asked.answer == item.colour
    assert set(kinds) == set(KINDS)
    assert min(yes["yes"], yes["no"]) > 30


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.4, 0.2, 0.6), "on the left"),
        ((0.8, 0.4, 1.0, 0.6), "on the right"),
        ((0.4, 0.0, 0.6, 0.2), "at the top"),
        ((0.4, 0.8, 0.6, 1.0), "at the bottom"),
        ((0.4, 0.4, 0.6, 0.6), "in the middle"),
        ((0.0, 0.0, 0.2, 0.2), None),
    ],
)
def test_positions_are_named_only_where_one_answer_is_best(
    box: tuple[float, float, float, float], expected: str | None
) -> None:
    assert position(SeenObject("dog", None, None, None, box, 0.04, 1.0)) == expected


def pairs(kind: str) -> list[EditPair]:
    return [sample_edit(seed, STYLES, 96, kind, shapes_atlas()) for seed in range(12)]


@pytest.mark.parametrize("kind", EDIT_KINDS)
def test_an_edit_keeps_every_other_object_where_it_is(kind: str) -> None:
    for pair in pairs(kind):
        assert pair.kind == kind
        assert len(pair.before.objects) == len(pair.after.objects)
        for index, (old, new) in enumerate(zip(pair.before.scene.objects, pair.after.scene.objects, strict=True)):
            assert (old == new) == (index != pair.object)
            assert (old.x, old.y, old.size) == (new.x, new.y, new.size)


@pytest.mark.parametrize(("kind", "background"), SCENE_EDITS.items())
def test_a_scene_edit_changes_the_background_alone(kind: str, background: str) -> None:
    for pair in pairs(kind):
        assert pair.object is None
        assert pair.before.scene.background != background
        assert pair.after.scene.background == background
        assert np.array_equal(pair.before.instances, pair.after.instances)


def test_recolouring_and_swapping_change_only_pixels_near_the_object() -> None:
    for pair in pairs("recolour") + pairs("swap"):
        assert pair.object is not None
        changed = (pair.before.image != pair.after.image).any(axis=2)
        item = pair.before.scene.objects[pair.object]
        rows, columns = np.nonzero(changed)
        reach = item.size * 0.85 * 96 + 2
        # Some of the test's concepts look the same, so that a swap between them changes nothing.
        assert len(rows) or pair.kind == "swap"
        assert np.abs(columns - item.x * 96).max(initial=0.0) <= reach
        assert np.abs(rows - item.y * 96).max(initial=0.0) <= reach


def test_instructions_name_what_changes_and_vary() -> None:
    said = set()
    for pair in pairs("recolour") + pairs("swap"):
        assert pair.object is not None
        old, new = pair.before.scene.objects[pair.object], pair.after.scene.objects[pair.object]
        assert old.concept in pair.instruction
        assert (new.colour if pair.kind == "recolour" else new.concept) in pair.instruction
        said.add(pair.instruction)
    assert len(said) > 20
    words = {sample_edit(seed, STYLES, 64, "night", shapes_atlas()).instruction for seed in range(60)}
    assert len(words) > 20
    assert all("night" in text for text in words)


@pytest.mark.parametrize(("kind", "background"), SCENE_EDITS.items())
def test_instructions_say_where_the_scene_goes(kind: str, background: str) -> None:
    named = {
        "underwater": ("water", "sea"),
        "snow": ("snow", "winter"),
        "grass": ("grass", "meadow"),
    }.get(background, (background,))
    said = {sample_edit(seed, STYLES, 64, kind, shapes_atlas()).instruction for seed in range(40)}
    assert len(said) > 12
    for text in said:
        assert any(word in text for word in named), text


def test_random_edits_are_of_all_kinds_and_two_of_five_change_an_object() -> None:
    kinds = [sample_edit(seed, STYLES, 64, atlas=shapes_atlas()).kind for seed in range(150)]
    assert set(kinds) == set(EDIT_KINDS)
    assert 40 <= sum(kind in OBJECT_EDITS for kind in kinds) <= 80


def test_the_same_seed_gives_the_same_edit() -> None:
    one, other = (sample_edit(77, STYLES, 64, atlas=shapes_atlas()) for _ in range(2))
    assert one.instruction == other.instruction
    assert np.array_equal(one.after.image, other.after.image)


def test_an_unknown_kind_of_edit_is_an_error() -> None:
    with pytest.raises(KeyError):
        sample_edit(1, STYLES, 64, "winter", shapes_atlas())


def test_the_example_scenes_are_small_and_their_labels_fit_the_pictures() -> None:
    pictures = sorted(EXAMPLES.glob("*.webp"))
    assert len(pictures) == 12
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 300_000
    assert {json.loads(path.with_suffix(".json").read_text())["scene"]["background"] for path in pictures} == {
        *BACKGROUNDS
    }
    for path in pictures:
        labels = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        with Image.open(path) as picture:
            assert picture.size == (256, 256)
        assert len(labels["objects"]) == len(labels["scene"]["objects"])
        assert all(item.get("style", "") in (*TRAIN_STYLES, "") for item in labels["scene"]["objects"])
        for item in labels["objects"]:
            rows, columns = np.nonzero(MaskRLE(**item["mask"]).to_array())
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.allclose(np.array(item["box"]) * 256, tight, atol=0.01)
