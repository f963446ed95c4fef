from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.palette import NO_CLASS, class_ids, palette
from services.skills.openseed import OpenSeed, OpenSeedArgs, OpenSeedResult, SegmentLabel, chosen
from tests.tiny.openseed import CLASSES, make

ODD_SIZES = [(1, 1), (400, 20), (20, 400), (300, 1), (1, 5000), (64, 64), (97, 55)]


@pytest.fixture(scope="module")
def skill(tmp_path_factory: pytest.TempPathFactory) -> OpenSeed:
    loaded = OpenSeed(checkpoint=make(tmp_path_factory.mktemp("openseed")))
    loaded.setup()
    return loaded


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def call(picture: Image.Image, **args: Any) -> SkillCall[OpenSeedArgs]:
    return SkillCall(OpenSeedArgs(**args), {Symbol.IMAGE: picture})


def ids_of(answer: Any) -> np.ndarray:
    assert isinstance(answer, OpenSeedResult)
    assert isinstance(answer.image_seg, Image.Image)
    return class_ids(np.asarray(answer.image_seg), len(CLASSES))


@pytest.mark.parametrize("size", ODD_SIZES)
def test_the_map_has_the_pictures_size_and_the_palettes_colours(skill: OpenSeed, size: tuple[int, int]) -> None:
    (answer,) = skill.predict([call(noise(size))])
    ids = ids_of(answer)
    assert ids.shape == (size[1], size[0])
    assert (ids != NO_CLASS).all()
    assert isinstance(answer, OpenSeedResult)
    assert (answer.size.width, answer.size.height) == size


def test_labels_tell_names_colours_and_areas_the_largest_first(skill: OpenSeed) -> None:
    (answer,) = skill.predict([call(noise((97, 55)))])
    ids = ids_of(answer)
    assert isinstance(answer, OpenSeedResult)
    areas = [label.area for label in answer.labels]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == pytest.approx(1)
    for label in answer.labels:
        assert label.name == CLASSES[label.id]
        assert label.area == pytest.approx((ids == label.id).mean())
        assert list(label.colour) == palette(len(CLASSES))[label.id].tolist()


def test_a_batch_of_odd_pictures_gives_what_each_gives_alone(skill: OpenSeed) -> None:
    calls = [call(noise(size, seed)) for seed, size in enumerate([*ODD_SIZES, (64, 64)])]
    for together, one in zip(skill.predict(calls), calls, strict=True):
        (alone,) = skill.predict([one])
        assert (ids_of(together) == ids_of(alone)).mean() > 0.999


def test_pictures_of_one_shape_share_a_forward(skill: OpenSeed, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    forward: Callable[..., Any] = skill._model.forward

    def counted(pixel_values: Any) -> Any:
        batches.append(len(pixel_values))
        return forward(pixel_values=pixel_values)

    monkeypatch.setattr(skill._model, "forward", counted)
    skill.predict([call(noise(size)) for size in [(64, 64), (50, 50), (90, 64), (64, 64)]])
    assert sorted(batches) == [1, 3]


def test_tiles_are_seen_beside_the_whole_picture(skill: OpenSeed, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled = OpenSeed(checkpoint=skill.checkpoint, tiles=2)
    tiled.setup()
    calls = [call(noise(size, seed)) for seed, size in enumerate(ODD_SIZES)]
    for together, one in zip(tiled.predict(calls), calls, strict=True):
        assert ids_of(together).shape == (one.image.height, one.image.width)
        assert (ids_of(together) == ids_of(tiled.predict([one])[0])).mean() > 0.999
    seen: list[tuple[int, int]] = []
    inputs: Callable[..., Any] = tiled._inputs

    def noted(pictures: Any) -> Any:
        seen.extend(picture.size for picture in pictures)
        return inputs(pictures)

    monkeypatch.setattr(tiled, "_inputs", noted)
    tiled.predict([call(noise((64, 80)))])
    assert seen == [(64, 80), *[(40, 50)] * 4]


def test_other_classes_stay_black_when_some_are_asked_for(skill: OpenSeed) -> None:
    picture = noise((97, 55))
    (whole,) = skill.predict([call(picture)])
    assert isinstance(whole, OpenSeedResult)
    first = whole.labels[0]
    (part,) = skill.predict([call(picture, classes=[f" {first.name.upper()} "])])
    assert isinstance(part, OpenSeedResult)
    assert part.labels == [first]
    expected = np.where(ids_of(whole) == first.id, first.id, NO_CLASS)
    assert (ids_of(part) == expected).all()


def test_a_class_that_is_not_in_the_picture_gives_a_black_map(skill: OpenSeed) -> None:
    picture = noise((32, 32))
    (whole,) = skill.predict([call(picture)])
    assert isinstance(whole, OpenSeedResult)
    absent = set(CLASSES) - {label.name for label in whole.labels}
    (answer,) = skill.predict([call(picture, classes=sorted(absent)[:1])])
    assert isinstance(answer, OpenSeedResult)
    assert answer.labels == []
    assert not np.asarray(answer.image_seg).any()


def test_an_unknown_class_fails_its_own_call_and_names_close_ones(skill: OpenSeed) -> None:
    picture = noise((32, 32))
    bad, good = skill.predict([call(picture, classes=["doog"]), call(picture)])
    assert isinstance(bad, BadArguments)
    assert bad.message == (
        "openseed: there is no class 'doog'. Did you mean dog, door? "
        "Leave `classes` out to see all that are in the picture."
    )
    assert bad.details == {"argument": "classes"}
    assert isinstance(good, OpenSeedResult)


def test_names_match_by_synonym_and_part() -> None:
    assert chosen(["Double Door"], CLASSES) == {4}
    assert chosen(["door, double door", "cat"], CLASSES) == {3, 4}
    assert chosen([], CLASSES) is None
    with pytest.raises(BadArguments, match="Did you mean night sky"):
        chosen(["sky"], CLASSES)
    with pytest.raises(BadArguments, match="Nothing is called alike"):
        chosen(["xylophone"], CLASSES)
    with pytest.raises(BadArguments, match="no class ''"):
        chosen([""], CLASSES)


def test_arguments_that_are_no_list_of_names_are_refused() -> None:
    with pytest.raises(ValidationError):
        OpenSeedArgs.model_validate({"classes": "dog"})
    with pytest.raises(ValidationError):
        OpenSeedArgs.model_validate({"mode": "openseed"})


def test_a_small_planner_is_told_the_classes_with_their_areas() -> None:
    labels = [
        SegmentLabel(name="beach", id=0, area=0.9, colour=(120, 120, 120)),
        SegmentLabel(name="dog", id=2, area=0.097, colour=(6, 230, 230)),
        SegmentLabel(name="cat", id=3, area=0.003, colour=(80, 50, 50)),
    ]
    answer = OpenSeedResult.model_validate(
        {"image_seg": "img_" + "0" * 40, "labels": labels, "size": {"width": 8, "height": 4}}
    )
    assert answer.observation(brief=True) == {"labels": {"beach": 0.9, "dog": 0.1}}
    assert answer.observation(brief=False)["labels"][1] == {
        "name": "dog", "id": 2, "area": 0.1, "colour": [6, 230, 230],
    }  # fmt: skip


def test_the_spec_says_that_a_map_is_produced() -> None:
    spec = OpenSeed.spec()
    assert spec.produces == {"image_seg": Symbol.IMAGE_SEG}
    assert spec.names == ("openseed", "semantic_segmentation")


def test_half_precision_weights_give_maps_too(skill: OpenSeed, tmp_path: Path) -> None:
    half = OpenSeed(checkpoint=make(tmp_path), dtype="bfloat16")
    half.setup()
    (answer,) = half.predict([call(noise((97, 55)))])
    assert (ids_of(answer) == ids_of(skill.predict([call(noise((97, 55)))])[0])).mean() > 0.8
