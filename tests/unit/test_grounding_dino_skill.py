from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from services.core.errors import BadArguments, SkillFailed
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.aspect import LONGEST_MAX, within_ratio
from services.models.grounding_dino import Grounding, Thresholds, Words, load_detector, ratio_max
from services.skills.grounding_dino import GroundingDino, GroundingDinoArgs, GroundingDinoResult, without_repeats
from tests.grounding_dino_names import SMALL, random_state
from tests.tiny import grounding_dino as tiny

pytest.importorskip("torch")
pytest.importorskip("transformers")

EVERYTHING = {"box_threshold": 0.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.make(tmp_path_factory.mktemp("grounding_dino"))


@pytest.fixture(scope="module")
def skill(checkpoint: str) -> GroundingDino:
    skill = GroundingDino(checkpoint, nms_iou=1.0)
    skill.setup()
    return skill


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def call(picture: Image.Image, **args: object) -> SkillCall[GroundingDinoArgs]:
    return SkillCall(GroundingDinoArgs.model_validate({"caption": "girl . red cart"} | args), {Symbol.IMAGE: picture})


def answer(skill: GroundingDino, picture: Image.Image, **args: object) -> GroundingDinoResult:
    (found,) = skill.predict([call(picture, **args)])
    assert isinstance(found, GroundingDinoResult)
    return found


def same(one: GroundingDinoResult, other: GroundingDinoResult) -> bool:
    return (
        one.phrases == other.phrases
        and one.size == other.size
        and np.allclose(one.boxes, other.boxes, atol=1e-5)
        and np.allclose(one.logits, other.logits, atol=1e-5)
    )


def test_boxes_come_best_first_with_scores_and_phrases_of_the_caption(skill: GroundingDino) -> None:
    found = answer(skill, noise(64, 64), **EVERYTHING)
    assert len(found.boxes) == len(found.logits) == len(found.phrases) == 20
    assert found.logits == sorted(found.logits, reverse=True)
    assert all(0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1 for x0, y0, x1, y1 in found.boxes)
    assert all(set(phrase.split()) <= {"girl", "red", "cart"} and phrase for phrase in found.phrases)
    assert (found.size.width, found.size.height) == (64, 64)


def test_a_higher_threshold_keeps_the_better_boxes(skill: GroundingDino) -> None:
    everything = answer(skill, noise(64, 64), **EVERYTHING)
    middle = everything.logits[5]
    some = answer(skill, noise(64, 64), box_threshold=middle)
    assert len(some.boxes) == 5
    assert some.boxes == everything.boxes[:5]
    none = answer(skill, noise(64, 64), box_threshold=1.0)
    assert (none.boxes, none.logits, none.phrases) == ([], [], [])


def test_a_batch_of_different_sizes_captions_and_thresholds_answers_as_single_calls_do(skill: GroundingDino) -> None:
    calls = [
        call(noise(64, 64), **EVERYTHING),
        call(noise(96, 64, 1), caption="dog", box_threshold=0.5),
        call(noise(64, 64, 2), caption="a girl on the boat, dog", text_threshold=0.45),
        call(noise(96, 64, 3), caption="red dog . cat", **EVERYTHING),
    ]
    together = skill.predict(calls)
    for one, in_batch in zip(calls, together, strict=True):
        (alone,) = skill.predict([one])
        assert isinstance(alone, GroundingDinoResult)
        assert isinstance(in_batch, GroundingDinoResult)
        assert alone.boxes
        assert same(alone, in_batch)


def test_a_bad_caption_does_not_take_its_neighbours_along(skill: GroundingDino) -> None:
    good, empty, long = skill.predict(
        [
            call(noise(64, 64), **EVERYTHING),
            call(noise(64, 64), caption=" . "),
            call(noise(64, 64), caption="girl " * 16),
        ]
    )
    assert isinstance(good, GroundingDinoResult)
    assert isinstance(empty, BadArguments)
    assert "names nothing" in empty.message
    assert empty.details == {"argument": "caption"}
    assert isinstance(long, BadArguments)
    assert "too long" in long.message


def test_a_caption_longer_than_the_model_reads_takes_several_passes(skill: GroundingDino) -> None:
    # Seven names of two words with their full stops fill the 24 tokens of a pass.
    names = [f"{colour} {thing}" for colour in ("red", "yellow") for thing in ("girl", "boy", "cart", "horse", "dog")]
    halves = [answer(skill, noise(64, 64), caption=" . ".join(part), **EVERYTHING) for part in (names[:7], names[7:])]
    found = answer(skill, noise(64, 64), caption=" . ".join(names), **EVERYTHING)
    assert len(found.boxes) == 40
    wanted = sorted((score for half in halves for score in half.logits), reverse=True)
    assert found.logits == pytest.approx(wanted, abs=1e-5)
    assert set(found.phrases) == {phrase for half in halves for phrase in half.phrases}


def test_boxes_of_one_phrase_on_one_another_are_one_object() -> None:
    box, moved, away = (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.51), (0.6, 0.6, 0.9, 0.9)
    found = [
        Grounding(box, 0.9, "car"),
        Grounding(moved, 0.8, "car"),
        Grounding(box, 0.7, "wheel"),
        Grounding(away, 0.6, "car"),
    ]
    assert without_repeats(found, 0.7) == [found[0], found[2], found[3]]
    assert without_repeats(found, 1.0) == found
    assert without_repeats([], 0.7) == []


def test_a_phrase_is_the_words_over_the_threshold_cut_from_the_caption() -> None:
    caption = "red zebras . cart ."
    # Token positions; 3 is the ending of "zebras", 4 a full stop and no word.
    words = Words(caption, {1: (0, 3), 2: (4, 9), 3: (9, 10), 5: (13, 17)})
    scores = [0.0, 0.2, 0.6, 0.5, 0.9, 0.4, 0.0]
    assert words.phrase(scores, Thresholds(0.3, 0.25)) == "zebras cart"
    assert words.phrase(scores, Thresholds(0.3, 0.25, one_phrase=True)) == "zebras"
    assert words.phrase(scores, Thresholds(0.3, 0.1)) == "red zebras cart"
    assert words.phrase(scores, Thresholds(0.3, 0.95)) == "red zebras"


def test_words_that_the_tokenizer_does_not_know_keep_their_name(skill: GroundingDino) -> None:
    found = answer(skill, noise(64, 64), caption="Zebra", **EVERYTHING)
    assert set(found.phrases) == {"zebra"}


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1280, 64), (64, 1280), (3000, 1), (1, 3000), (3, 64)])
def test_pictures_of_any_shape_get_boxes(skill: GroundingDino, size: tuple[int, int]) -> None:
    found = answer(skill, noise(*size), **EVERYTHING)
    assert len(found.boxes) == 20
    assert (found.size.width, found.size.height) == size


def test_a_picture_too_long_for_the_queries_is_stretched_for_the_model_alone() -> None:
    published = SimpleNamespace(num_queries=900, backbone_config=SimpleNamespace(out_indices=[2, 3, 4]))
    limit = ratio_max(published, SimpleNamespace(longest_edge=1333))
    assert limit == pytest.approx(30.8, abs=0.1)
    assert ratio_max(published, SimpleNamespace(longest_edge=None)) == math.inf
    assert within_ratio(noise(2000, 100), limit).size == (2000, 100)
    assert within_ratio(noise(3000, 1), limit).size == (3000, 98)
    assert within_ratio(noise(1, 3000), limit).size == (98, 3000)


def test_a_thread_of_many_pixels_costs_no_more_than_a_strip() -> None:
    assert within_ratio(Image.new("RGB", (200_000, 1)), 32).size == (LONGEST_MAX, LONGEST_MAX // 32)
    assert within_ratio(Image.new("RGB", (1, 200_000)), 32).size == (LONGEST_MAX // 32, LONGEST_MAX)
    assert within_ratio(Image.new("RGB", (20_000, 10)), math.inf).size == (20_000, 10)


def test_an_original_file_takes_its_tokenizer_from_the_settings(checkpoint: str, tmp_path: Path) -> None:
    import torch

    torch.save({"model": random_state(SMALL)}, tmp_path / "groundingdino_small.pth")
    original = GroundingDino(str(tmp_path / "groundingdino_small.pth"), tokenizer=checkpoint)
    original.setup()
    original._grounder._processor.image_processor.size = {"shortest_edge": 64, "longest_edge": 128}
    found = answer(original, noise(60, 40), **EVERYTHING)
    assert found.boxes


def test_captions_reach_the_model_in_lower_case(skill: GroundingDino) -> None:
    assert same(
        answer(skill, noise(64, 64), caption="GIRL. Red Cart.", **EVERYTHING),
        answer(skill, noise(64, 64), caption="girl . red cart", **EVERYTHING),
    )


def test_half_precision_leaves_boxes_where_they_are(checkpoint: str, skill: GroundingDino) -> None:
    half = GroundingDino(checkpoint, dtype="bfloat16", nms_iou=1.0)
    half.setup()
    exact, rough = (answer(one, noise(64, 64), **EVERYTHING) for one in (skill, half))
    assert len(rough.boxes) == len(exact.boxes)
    assert rough.logits == pytest.approx(exact.logits, abs=0.1)


def test_weights_that_were_trained_with_the_librarys_text_positions_say_so(checkpoint: str, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(checkpoint, tmp_path / "trained")
    file = tmp_path / "trained" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"text_positions": "library"}))
    restored, _ = load_detector(checkpoint, "")
    as_trained, _ = load_detector(str(tmp_path / "trained"), "")
    assert restored.model.encoder._forward_pre_hooks
    assert not as_trained.model.encoder._forward_pre_hooks


def test_a_tokenizer_with_other_numbers_is_refused(checkpoint: str, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(file.read_text().replace('".": 1012', '".": 1013').replace('"[unused1013]": 1013', '"x": 1012'))
    with pytest.raises(SkillFailed, match="Grounding DINO needs BERT's"):
        GroundingDino(str(tmp_path / "other")).setup()


def test_a_small_planner_is_told_boxes_and_phrases_alone() -> None:
    found = GroundingDinoResult.model_validate(
        {
            "boxes": [(0.123, 0.2, 0.5, 0.789)],
            "logits": [0.876],
            "phrases": ["girl"],
            "size": {"width": 10, "height": 20},
        }
    )
    assert found.observation(brief=True) == {"boxes": [[0.12, 0.2, 0.5, 0.79]], "phrases": ["girl"]}
    assert found.observation(brief=False)["logits"] == [0.88]


def test_the_spec_needs_no_weights() -> None:
    spec = GroundingDino.spec()
    assert spec.summary == "Finds the things that a caption names and gives their boxes."
    assert spec.args_schema()["required"] == ["caption"]
