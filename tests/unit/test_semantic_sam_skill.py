from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.sam import segment
from services.skills.semantic_sam import SemanticSam, SemanticSamArgs, SemanticSamResult, levels_of
from tests.tiny import semantic_sam as tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def skill(tmp_path_factory: pytest.TempPathFactory) -> SemanticSam:
    skill = SemanticSam(tiny.make(tmp_path_factory.mktemp("semantic_sam")))
    skill.setup()
    return skill


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def predict(skill: SemanticSam, *calls: dict[str, Any], size: tuple[int, int] = (80, 60)) -> list[Any]:
    return list(
        skill.predict([SkillCall(SemanticSamArgs.model_validate(args), {Symbol.IMAGE: noise(*size)}) for args in calls])
    )


@pytest.mark.parametrize(
    "args", [{"point": [(0.3, 0.4), (0.0, 1.0)]}, {"boxes": [(0.1, 0.1, 0.5, 0.5), (0.2, 0.2, 0.2, 0.2)]}]
)
@pytest.mark.parametrize("size", [(80, 60), (1, 1), (640, 32)])
@pytest.mark.parametrize("closer", [None, 2.0])
def test_each_prompt_gives_masks_from_fine_to_coarse(
    skill: SemanticSam, args: dict[str, Any], size: tuple[int, int], closer: float | None
) -> None:
    if closer is not None:
        skill = SemanticSam(skill.checkpoint, closer=closer)
        skill.setup()
    (found,) = predict(skill, args, size=size)
    assert isinstance(found, SemanticSamResult)
    assert len(found.levels) == len(found.masks_rle) == 2
    for level, best in zip(found.levels, found.masks_rle, strict=True):
        assert len(level.masks_rle) == len(level.iou) == len(level.boxes) == len(level.areas) == 3
        assert level.areas == sorted(level.areas)
        assert {mask.size for mask in level.masks_rle} == {(size[1], size[0])}
        assert level.iou[level.best] == max(level.iou)
        assert best == level.masks_rle[level.best]


def test_masks_are_ranked_by_predicted_iou_without_losing_their_order_by_area() -> None:
    masks = [np.zeros((10, 10), dtype=bool) for _ in range(3)]
    for mask, side in zip(masks, (8, 2, 5), strict=True):
        mask[:side, :side] = True
    level = levels_of([segment(mask, iou) for mask, iou in zip(masks, (0.5, 0.7, 0.9), strict=True)])
    assert level.areas == [0.04, 0.25, 0.64]
    assert level.iou == [0.7, 0.9, 0.5]
    assert (level.best, level.by_iou) == (1, [1, 0, 2])


def test_one_point_need_not_be_in_a_list_and_may_be_called_points(skill: SemanticSam) -> None:
    listed, bare, plural = predict(skill, {"point": [[0.3, 0.4]]}, {"point": [0.3, 0.4]}, {"points": [[0.3, 0.4]]})
    assert [level.boxes for level in listed.levels] == [level.boxes for level in bare.levels]
    assert [level.boxes for level in listed.levels] == [level.boxes for level in plural.levels]


def test_exactly_one_of_point_and_boxes_must_be_given(skill: SemanticSam) -> None:
    good, neither, both, none = predict(
        skill,
        {"point": [(0.5, 0.5)]},
        {},
        {"point": [(0.5, 0.5)], "boxes": [(0.0, 0.0, 1.0, 1.0)]},
        {"point": []},
    )
    assert isinstance(good, SemanticSamResult)
    assert isinstance(neither, BadArguments)
    assert isinstance(both, BadArguments)
    assert "exactly one of them" in both.message
    assert none.levels == []


def test_planners_are_told_boxes_and_never_run_length_codes(skill: SemanticSam) -> None:
    (found,) = predict(skill, {"point": [(0.5, 0.5)]})
    assert set(found.observation(brief=True)["levels"][0]) == {"boxes", "best"}
    assert set(found.observation(brief=False)["levels"][0]) == {"boxes", "areas", "iou", "best"}


def test_the_argument_has_the_reference_implementations_name() -> None:
    spec = SemanticSam.spec()
    assert set(spec.args_schema()["properties"]) == {"point", "boxes"}
    assert spec.names == ("semantic_sam", "semantic-sam")
