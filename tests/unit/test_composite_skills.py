from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from services.core.errors import BadArguments, ImageNotFound, SkillUnavailable
from services.core.spec import Symbol
from services.core.types import ImageSize, MaskRLE
from services.skills._grounded import ThresholdArgs
from services.skills.blip2 import Blip2Result
from services.skills.blip2_grounding_dino import Blip2GroundingDino
from services.skills.grounded_sam import GroundedSam, GroundedSamArgs
from services.skills.grounding_dino import GroundingDinoArgs, GroundingDinoResult
from services.skills.ram import RamResult
from services.skills.ram_grounding_dino import RamGroundingDino
from services.skills.sam import PROMPTS_MAX, SamResult

SIZE = ImageSize(width=6, height=4)
PICTURES = {Symbol.IMAGE: "img_" + "0" * 40}
BOX = (0.1, 0.2, 0.5, 0.6)
MASK = MaskRLE.from_array(np.ones((4, 6), bool))


class Answers:
    """A part runner that gives each part's prepared answer and keeps what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any], Mapping[Symbol, Any]]] = []

    async def run(self, part: Any, args: Any, images: Mapping[Symbol, Any]) -> Any:
        self.asked.append((part.name, args.model_dump(), images))
        answer = self.answers[part.name]
        if isinstance(answer, Exception):
            raise answer
        return answer(args) if callable(answer) else answer


def detected(count: int) -> GroundingDinoResult:
    return GroundingDinoResult(boxes=[BOX] * count, logits=[0.5] * count, phrases=["dog"] * count, size=SIZE)


def cut(args: Any) -> SamResult:
    count = len(args.boxes)
    return SamResult(masks_rle=[MASK] * count, iou=[0.9] * count, boxes=[BOX] * count, size=SIZE)


async def test_every_box_that_is_found_gets_its_mask() -> None:
    parts = Answers(grounding_dino=detected(2), sam=cut)
    args = GroundedSamArgs(caption="dog . cat", box_threshold=0.4)
    result = await GroundedSam().compose(args, PICTURES, parts)
    assert result.boxes == [BOX, BOX]
    assert result.phrases == ["dog", "dog"]
    assert result.masks_rle == [MASK, MASK]
    assert [(name, images) for name, _, images in parts.asked] == [("grounding_dino", PICTURES), ("sam", PICTURES)]
    assert parts.asked[0][1] == {"caption": "dog . cat", "box_threshold": 0.4, "text_threshold": 0.25}
    assert parts.asked[1][1]["boxes"] == (BOX, BOX)


async def test_without_a_box_sam_is_not_asked() -> None:
    parts = Answers(grounding_dino=detected(0))
    result = await GroundedSam().compose(GroundedSamArgs(caption="dog"), PICTURES, parts)
    assert result.boxes == result.logits == result.phrases == result.masks_rle == []
    assert result.size == SIZE


async def test_more_boxes_than_sam_takes_are_cut_out_in_several_calls() -> None:
    parts = Answers(grounding_dino=detected(PROMPTS_MAX + 1), sam=cut)
    result = await GroundedSam().compose(GroundedSamArgs(caption="dog"), PICTURES, parts)
    assert len(result.masks_rle) == PROMPTS_MAX + 1
    assert [len(asked["boxes"]) for name, asked, _ in parts.asked if name == "sam"] == [PROMPTS_MAX, 1]


async def test_a_caption_is_searched_for_as_it_was_written() -> None:
    parts = Answers(blip2=Blip2Result(caption="a dog on a beach", size=SIZE), grounding_dino=detected(1))
    result = await Blip2GroundingDino().compose(ThresholdArgs(text_threshold=0.1), PICTURES, parts)
    assert (result.caption, result.boxes, result.phrases) == ("a dog on a beach", [BOX], ["dog"])
    assert parts.asked[1][1] == {"caption": "a dog on a beach", "box_threshold": 0.3, "text_threshold": 0.1}


async def test_tags_are_searched_for_one_by_one() -> None:
    tagged = RamResult(tags=["dog", "st. bernard"], scores=[0.9, 0.8], size=SIZE)
    parts = Answers(ram=tagged, grounding_dino=detected(1))
    result = await RamGroundingDino().compose(ThresholdArgs(), PICTURES, parts)
    assert (result.tags, result.boxes) == (["dog", "st. bernard"], [BOX])
    assert parts.asked[1][1]["caption"] == "dog . st  bernard ."


async def test_words_that_name_nothing_are_located_nowhere() -> None:
    nothing = BadArguments("The caption names nothing.", argument="caption")
    parts = Answers(ram=RamResult(tags=[], scores=[], size=SIZE), grounding_dino=nothing)
    result = await RamGroundingDino().compose(ThresholdArgs(), PICTURES, parts)
    assert (result.tags, result.boxes, result.size) == ([], [], SIZE)


@pytest.mark.parametrize("error", [ImageNotFound("No picture."), SkillUnavailable("Starting.")])
async def test_other_errors_of_the_detector_are_the_composites_own(error: Exception) -> None:
    parts = Answers(blip2=Blip2Result(caption="a dog", size=SIZE), grounding_dino=error)
    with pytest.raises(type(error)):
        await Blip2GroundingDino().compose(ThresholdArgs(), PICTURES, parts)


def test_thresholds_are_those_of_the_detector() -> None:
    own, detectors = ThresholdArgs.model_fields, GroundingDinoArgs.model_fields
    for name in own:
        assert own[name].default == detectors[name].default
        assert own[name].description == detectors[name].description


def test_a_small_planner_is_told_boxes_and_phrases_and_no_masks() -> None:
    result = GroundedSam.Result(boxes=[BOX], logits=[0.512], phrases=["dog"], masks_rle=[MASK], size=SIZE)
    assert result.observation(brief=True) == {"boxes": [[0.1, 0.2, 0.5, 0.6]], "phrases": ["dog"]}
    assert result.observation(brief=False) == {
        "boxes": [[0.1, 0.2, 0.5, 0.6]],
        "logits": [0.51],
        "phrases": ["dog"],
        "size": {"width": 6, "height": 4},
    }
