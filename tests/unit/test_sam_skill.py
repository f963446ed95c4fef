from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.regions import Region
from services.models.sam import Prompt, on_region, segment
from services.skills.sam import Sam, SamArgs, SamResult
from tests.tiny import sam as tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")

BOXES = [(0.1, 0.2, 0.6, 0.9), (0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.make(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def skill(checkpoint: str) -> Sam:
    skill = Sam(checkpoint)
    skill.setup()
    return skill


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def call(picture: Image.Image, **args: Any) -> SkillCall[SamArgs]:
    return SkillCall(SamArgs.model_validate(args), {Symbol.IMAGE: picture})


def answer(skill: Sam, picture: Image.Image, **args: Any) -> SamResult:
    (found,) = skill.predict([call(picture, **args)])
    assert isinstance(found, SamResult), found
    return found


def refusal(skill: Sam, **args: Any) -> BadArguments:
    (found,) = skill.predict([call(noise(64, 64), **args)])
    assert isinstance(found, BadArguments)
    return found


def agree(one: SamResult, other: SamResult) -> bool:
    """The same but for pixels whose logits are rounding errors away from zero."""
    different = [
        (left.to_array() != right.to_array()).mean() for left, right in zip(one.masks_rle, other.masks_rle, strict=True)
    ]
    return max(different, default=0.0) < 0.001 and np.allclose(one.iou, other.iou, atol=1e-4)


def test_each_box_gives_one_mask_of_the_pictures_size(skill: Sam) -> None:
    found = answer(skill, noise(90, 70), boxes=BOXES)
    assert len(found.masks_rle) == len(found.iou) == len(found.boxes) == 3
    assert {mask.size for mask in found.masks_rle} == {(70, 90)}
    assert (found.size.width, found.size.height) == (90, 70)
    covered = [mask.to_array().mean() for mask in found.masks_rle]
    assert any(0 < part < 1 for part in covered)


def test_points_give_one_mask_a_list_whether_lists_are_of_one_length_or_not(skill: Sam) -> None:
    points = [[(0.2, 0.3)], [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0)], [(0.9, 0.9)]]
    labels = [[1], [1, 0, 0], [0]]
    found = answer(skill, noise(64, 64), points=points, point_labels=labels)
    for index, (group, signs) in enumerate(zip(points, labels, strict=True)):
        alone = answer(skill, noise(64, 64), points=[group], point_labels=[signs])
        assert agree(alone, found.model_copy(update={"masks_rle": [found.masks_rle[index]], "iou": [found.iou[index]]}))


def test_points_without_labels_are_on_the_object(skill: Sam) -> None:
    points = [[(0.2, 0.3), (0.4, 0.4)]]
    unlabelled = answer(skill, noise(64, 64), points=points)
    assert unlabelled == answer(skill, noise(64, 64), points=points, point_labels=[[1, 1]])
    assert unlabelled != answer(skill, noise(64, 64), points=points, point_labels=[[1, 0]])


def test_a_batch_of_boxes_points_and_mistakes_answers_as_single_calls_do(skill: Sam) -> None:
    calls = [
        call(noise(64, 64), boxes=BOXES),
        call(noise(100, 40, 1), points=[[(0.5, 0.5)]]),
        call(noise(64, 64)),
        call(noise(30, 80, 2), boxes=BOXES[:1]),
        call(noise(64, 64), boxes=[]),
    ]
    together = skill.predict(calls)
    for one, in_batch in zip(calls, together, strict=True):
        (alone,) = skill.predict([one])
        if isinstance(alone, SamResult):
            assert isinstance(in_batch, SamResult)
            assert agree(alone, in_batch)
    assert isinstance(together[2], BadArguments)
    assert isinstance(together[4], SamResult)


def test_no_box_is_no_mask(skill: Sam) -> None:
    for nothing in ({"boxes": []}, {"points": []}, {"points": [], "point_labels": []}):
        found = answer(skill, noise(20, 10), **nothing)
        assert (found.masks_rle, found.iou, found.boxes) == ([], [], [])
        assert (found.size.width, found.size.height) == (20, 10)


def test_exactly_one_of_boxes_and_points_must_be_given(skill: Sam) -> None:
    assert "exactly one of them" in refusal(skill).message
    assert "exactly one of them" in refusal(skill, boxes=BOXES, points=[[(0.1, 0.1)]]).message


def test_labels_must_match_the_points(skill: Sam) -> None:
    assert "one label" in refusal(skill, points=[[(0.1, 0.1)]], point_labels=[[1, 0]]).message
    assert "one label" in refusal(skill, points=[[(0.1, 0.1)]], point_labels=[]).message
    assert "leave them out" in refusal(skill, boxes=BOXES, point_labels=[[1]]).message
    assert "1 to 16 points" in refusal(skill, points=[[]]).message
    assert "1 to 16 points" in refusal(skill, points=[[(0.5, 0.5)] * 17]).message


@pytest.mark.parametrize(
    "args",
    [
        {"boxes": [(0.1, 0.1, 1.2, 0.5)]},
        {"boxes": [(0.6, 0.1, 0.2, 0.5)]},
        {"boxes": [(0.1, 0.1, 0.2, 0.5)] * 65},
        {"points": [[(0.1, -0.1)]]},
        {"points": [[(0.1, float("nan"))]]},
        {"points": [[(0.1, 0.1)]], "point_labels": [[2]]},
    ],
)
def test_coordinates_outside_the_picture_and_too_many_prompts_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamArgs.model_validate(args)


def test_as_many_prompts_as_allowed_take_several_passes(skill: Sam) -> None:
    rng = np.random.default_rng(0)
    boxes = [(x, y, x + 0.3, y + 0.3) for x, y in rng.uniform(0, 0.7, (64, 2)).tolist()]
    found = answer(skill, noise(64, 64), boxes=boxes)
    assert len(found.masks_rle) == 64
    last = answer(skill, noise(64, 64), boxes=boxes[-1:])
    assert agree(last, found.model_copy(update={"masks_rle": found.masks_rle[-1:], "iou": found.iou[-1:]}))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1280, 64), (64, 1280), (3000, 1), (1, 3000)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255)])
def test_pictures_of_any_shape_and_without_content_get_masks(
    skill: Sam, size: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    found = answer(skill, Image.new("RGB", size, colour), boxes=BOXES)
    assert {mask.size for mask in found.masks_rle} == {(size[1], size[0])}
    at_corners = answer(skill, Image.new("RGB", size, colour), points=[[(0.0, 0.0), (1.0, 1.0)]])
    assert len(at_corners.masks_rle) == 1


def test_a_masks_box_is_around_it_and_its_score_within_bounds() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:8] = True
    assert segment(mask, 1.3).box == (0.2, 0.2, 0.4, 0.5)
    assert segment(mask, 1.3).iou == 1.0
    assert segment(mask, -0.1).iou == 0.0
    assert segment(mask, 0.5).area == 12 / 200
    assert segment(np.zeros((4, 4), dtype=bool), 0.5).box == (0.0, 0.0, 0.0, 0.0)


def test_half_precision_changes_little(checkpoint: str, skill: Sam) -> None:
    half = Sam(checkpoint, dtype="bfloat16")
    half.setup()
    exact, rough = (answer(one, noise(64, 64), boxes=BOXES) for one in (skill, half))
    assert rough.iou == pytest.approx(exact.iou, abs=0.1)


def test_planners_are_told_boxes_and_never_run_length_codes(skill: Sam) -> None:
    found = answer(skill, noise(64, 64), boxes=BOXES)
    assert set(found.observation(brief=True)) == {"boxes"}
    assert set(found.observation(brief=False)) == {"boxes", "iou", "size"}


def test_the_spec_says_that_a_mask_is_produced() -> None:
    assert Sam.spec().produces == {"masks_rle": Symbol.MASK}


def test_a_closer_look_gives_as_many_masks_of_the_same_size(checkpoint: str, skill: Sam) -> None:
    closer = Sam(checkpoint, closer=2.0)
    closer.setup()
    for size in [(1, 1), (400, 20), (97, 55)]:
        picture = noise(*size)
        found = answer(closer, picture, boxes=BOXES)
        assert [code.to_array().shape for code in found.masks_rle] == [(size[1], size[0])] * len(BOXES)
    points = [((0.2, 0.2),), ((0.2, 0.2), (0.9, 0.9)), ((0.9, 0.1),)]
    labels = [(1,), (1, 0), (0,)]
    assert len(answer(closer, noise(97, 55), points=points, point_labels=labels).masks_rle) == 3
    # What fills the picture is not looked at again.
    assert agree(answer(closer, noise(64, 64), boxes=BOXES[2:]), answer(skill, noise(64, 64), boxes=BOXES[2:]))


def test_a_closer_look_sees_what_is_around_the_box_and_stays_there(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closer = Sam(checkpoint, closer=2.0)
    closer.setup()
    seen: list[tuple[Any, Any]] = []
    looked = closer._segmenter._looked

    def noted(pictures: Any, prompts: Any, *, candidates: bool) -> Any:
        seen.append(([picture.size for picture in pictures], prompts))
        return looked(pictures, prompts, candidates=candidates)

    monkeypatch.setattr(closer._segmenter, "_looked", noted)
    found = answer(closer, noise(100, 100), boxes=[(0.4, 0.4, 0.6, 0.6), (0.0, 0.0, 0.2, 0.2)])
    (_, first), (sizes, second) = seen
    assert len(first) == len(second) == 2
    assert sizes == [(40, 40), (40, 40)]
    assert second[0].box == pytest.approx((0.25, 0.25, 0.75, 0.75))
    assert second[1].box == pytest.approx((0.0, 0.0, 0.5, 0.5))
    masks = [code.to_array() for code in found.masks_rle]
    assert not masks[0][:30].any()
    assert not masks[1][40:].any()


def test_points_outside_a_region_are_left_out() -> None:
    region, size = Region(0, 0, 50, 50), (100, 100)
    prompt = Prompt(3, points=((0.25, 0.25), (0.9, 0.9)), labels=(1, 0))
    assert on_region(prompt, region, size) == Prompt(3, points=((0.5, 0.5),), labels=(1,))
    assert on_region(Prompt(3, points=((0.9, 0.9), (0.1, 0.1)), labels=(1, 0)), region, size) is None
