"""Scenes of the embedded world, their rendering and their cache."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.embedded.world.backgrounds import draw_background
from services.embedded.world.cache import DONE, SceneCache, StaleCache
from services.embedded.world.concepts import (
    BACKGROUNDS,
    COLOURS,
    CONCEPT,
    CONCEPTS,
    NAMES,
    SIGN,
    TRAIN_STYLES,
    UNSEEN_STYLES,
)
from services.embedded.world.render import LEAST_VISIBLE, Rendered, render
from services.embedded.world.scene import Scene, SceneObject, sample_scene, scene_rng
from services.embedded.world.signs import LEAST_LETTERS, WORDS, sign_shape
from tests.world_sprites import shapes_atlas

STYLES = TRAIN_STYLES[:2]


def drawn(index: int, size: int = 128) -> Rendered:
    return render(sample_scene(scene_rng(9, index), STYLES), size, shapes_atlas())


def thing(**changes: object) -> SceneObject:
    return replace(SceneObject("dog", STYLES[0], None, 0.5, 0.5, 0.4), **changes)  # type: ignore[arg-type]


def test_there_are_at_least_110_concepts_with_distinct_plain_names_and_facts() -> None:
    assert len(CONCEPTS) >= 110
    assert len(set(NAMES)) == len(NAMES)
    for concept in CONCEPTS:
        assert concept.name == concept.name.lower()
        assert len(concept.name.split()) <= 2
        assert set(concept.backgrounds) <= set(BACKGROUNDS)
        assert 2 <= len(concept.facts) <= 3
        assert all(fact.endswith(".") for fact in concept.facts)
    codepoints = [concept.codepoint for concept in CONCEPTS if concept.name != SIGN]
    assert all(codepoints)
    assert len(set(codepoints)) == len(codepoints)


def test_the_unseen_style_is_not_trained_on() -> None:
    assert not set(UNSEEN_STYLES) & set(TRAIN_STYLES)


def test_there_are_at_least_300_words_for_signs() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 300
    assert all(2 <= len(word) <= 9 and word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_background_depends_on_its_name_and_seed_alone(name: str) -> None:
    picture = draw_background(name, 3, 64)
    assert picture.shape == (64, 64, 3)
    assert np.array_equal(picture, draw_background(name, 3, 64))
    assert not np.array_equal(picture, draw_background(name, 4, 64))


def test_the_same_seed_gives_the_same_scene_and_pixels() -> None:
    first, second = drawn(5), drawn(5)
    assert first.scene == second.scene
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.instances, second.instances)
    assert sample_scene(scene_rng(9, 6)) != first.scene


def test_a_scene_survives_json() -> None:
    for index in range(20):
        scene = sample_scene(scene_rng(1, index))
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_scenes_have_one_to_six_objects_and_colours_where_the_concept_has_them() -> None:
    scenes = [sample_scene(scene_rng(3, index)) for index in range(150)]
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4, 5, 6}
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert any(item.group is not None for scene in scenes for item in scene.objects)
    for item in (item for scene in scenes for item in scene.objects):
        assert (item.colour in COLOURS) == CONCEPT[item.concept].coloured
        assert (item.text is not None) == (item.concept == SIGN)


def test_labels_say_exactly_what_is_seen() -> None:
    for index in range(40):
        result = drawn(index)
        size = result.instances.shape[0]
        assert result.image.shape == (size, size, 3)
        assert len(result.objects) == len(result.scene.objects)
        assert set(np.unique(result.instances)) == set(range(len(result.objects) + 1))
        assert np.array_equal(result.parts > 0, result.instances > 0)
        for number, item in enumerate(result.objects):
            rows, columns = np.nonzero(result.mask(number))
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert np.allclose(np.array(item.box) * size, tight)
            assert item.visible >= LEAST_VISIBLE
            assert item.area == pytest.approx(len(rows) / size**2)
            assert sum(int(part.sum()) for part in result.part_masks(number)) == len(rows)


def test_a_hidden_object_is_left_out_and_not_merely_unlabelled() -> None:
    hidden = thing(concept="cat", size=0.2)
    above = thing(size=0.5)
    scene = Scene("grass", 1, (hidden, above))
    result = render(scene, 128, shapes_atlas())
    assert [item.concept for item in result.objects] == ["dog"]
    alone = render(Scene("grass", 1, (above,)), 128, shapes_atlas())
    assert np.array_equal(result.image, alone.image)


def test_an_object_outside_the_picture_is_left_out() -> None:
    result = render(Scene("room", 1, (thing(x=3.0), thing(y=-2.0))), 64, shapes_atlas())
    assert result.objects == ()
    assert not result.instances.any()


def test_a_later_object_covers_an_earlier_one() -> None:
    result = render(Scene("snow", 1, (thing(x=0.4), thing(x=0.6, concept="cat"))), 128, shapes_atlas())
    assert result.objects[0].visible < 1.0
    assert result.objects[1].visible == pytest.approx(1.0, abs=0.05)


def test_a_flip_mirrors_the_object_about_its_centre() -> None:
    plain = render(Scene("snow", 1, (thing(),)), 128, shapes_atlas())
    flipped = render(Scene("snow", 1, (thing(flip=True),)), 128, shapes_atlas())
    overlap = np.mean(plain.parts[:, ::-1] == flipped.parts)
    assert overlap > 0.97
    assert not np.array_equal(plain.parts, flipped.parts)


def test_a_group_mask_holds_all_members() -> None:
    members = (thing(x=0.25, size=0.25, group=0), thing(x=0.6, size=0.25, group=0), thing(y=0.15, size=0.2))
    result = render(Scene("beach", 2, members), 128, shapes_atlas())
    assert np.array_equal(result.group_mask(0), result.mask(0) | result.mask(1))
    assert np.array_equal(result.group_mask(2), result.mask(2))


def test_signs_are_whole_on_top_and_their_letters_at_least_16_pixels_high_at_256() -> None:
    signs = 0
    for index in range(80):
        result = drawn(index, 256)
        for item, seen in zip(result.scene.objects, result.objects, strict=True):
            if item.text is None:
                continue
            signs += 1
            assert item.concept == SIGN
            shape = sign_shape(item.text)
            assert item.size / max(shape.width, shape.height) >= LEAST_LETTERS * 0.999
            assert seen.visible > 0.95
            assert {word.lower() for word in item.text.split()} <= set(WORDS)
    assert signs > 5


def test_a_colour_variant_changes_the_object_and_nothing_else() -> None:
    red = render(Scene("room", 1, (thing(concept="car", colour="red"),)), 128, shapes_atlas())
    blue = render(Scene("room", 1, (thing(concept="car", colour="blue"),)), 128, shapes_atlas())
    changed = (red.image != blue.image).any(axis=2)
    assert changed.any()
    assert not (changed & (red.instances == 0) & ~_grown(red.mask(0))).any()
    inside = red.mask(0)
    assert red.image[inside].mean(axis=0)[0] > blue.image[inside].mean(axis=0)[0]


def _grown(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            grown |= np.roll(mask, step, axis)
    return grown


def test_a_cache_gives_back_what_was_rendered(tmp_path: Path) -> None:
    lines: list[str] = []
    cache = SceneCache.build(tmp_path / "c", 4, 9, STYLES, size=64, atlas=shapes_atlas(), report=lines.append)
    assert len(cache) == 4
    assert lines == ["4 of 4 scenes, 0 s left"]
    for index, found in enumerate(cache):
        expected = drawn(index, 64)
        assert found.scene == expected.scene
        assert found.objects == expected.objects
        assert np.array_equal(found.image, expected.image)
        assert np.array_equal(found.instances, expected.instances)
        assert np.array_equal(found.parts, expected.parts)
    assert [item.scene for item in cache[1:3]] == [cache[1].scene, cache[2].scene]
    assert cache[-1].scene == cache[3].scene
    assert pickle.loads(pickle.dumps(cache))[2].scene == cache[2].scene
    with pytest.raises(IndexError):
        cache[4]


def test_an_interrupted_build_goes_on_where_it_was(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    def build(report: object) -> SceneCache:
        return SceneCache.build(
            tmp_path,
            130,
            9,
            STYLES,
            size=32,
            atlas=shapes_atlas(),
            report=report,  # type: ignore[arg-type]
        )

    with pytest.raises(KeyboardInterrupt):
        build(stop)
    assert not (tmp_path / DONE).exists()
    with (tmp_path / "records.jsonl").open("ab") as records:
        records.write(b'{"scene": {"backgr')
    lines: list[str] = []
    cache = build(lines.append)
    assert lines == ["130 of 130 scenes, 0 s left"]
    assert cache[129].scene == drawn(129, 32).scene
    assert cache[100].scene == drawn(100, 32).scene


def test_a_folder_with_other_scenes_is_refused(tmp_path: Path) -> None:
    SceneCache.build(tmp_path, 2, 9, STYLES, size=32, atlas=shapes_atlas())
    with pytest.raises(StaleCache, match="other scenes"):
        SceneCache.build(tmp_path, 2, 10, STYLES, size=32, atlas=shapes_atlas())
    (tmp_path / DONE).unlink()
    with pytest.raises(StaleCache, match="llava-plus embedded render"):
        SceneCache(tmp_path)
