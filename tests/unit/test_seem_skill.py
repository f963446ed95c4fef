from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from services.core.errors import BadArguments
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.skills.seem import Seem, SeemArgs, SeemResult, shrunk
from tests.tiny.seem import SIDE, make

ODD_SIZES = [(1, 1), (400, 20), (20, 400), (SIDE, SIDE), (97, 55)]


@pytest.fixture(scope="module")
def skill(tmp_path_factory: pytest.TempPathFactory) -> Seem:
    loaded = Seem(checkpoint=make(tmp_path_factory.mktemp("seem")))
    loaded.setup()
    return loaded


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def left_half(size: tuple[int, int]) -> Image.Image:
    mask = Image.new("RGB", size)
    mask.paste((255, 255, 255), (0, 0, (size[0] + 1) // 2, size[1]))
    return mask


def call(picture: Image.Image, mask: Image.Image | None = None, **args: Any) -> SkillCall[SeemArgs]:
    reference = noise((40, 30), 9)
    return SkillCall(
        SeemArgs(**args),
        {
            Symbol.IMAGE: picture,
            Symbol.REFERENCE_IMAGE: reference,
            Symbol.REFERENCE_MASK: left_half(reference.size) if mask is None else mask,
        },
    )


def mask_of(answer: Any) -> np.ndarray:
    assert isinstance(answer, SeemResult)
    (rle,) = answer.masks_rle
    return rle.to_array()


@pytest.mark.parametrize("size", ODD_SIZES)
def test_the_mask_has_the_pictures_size(skill: Seem, size: tuple[int, int]) -> None:
    (answer,) = skill.predict([call(noise(size), threshold=0.05)])
    mask = mask_of(answer)
    assert mask.shape == (size[1], size[0])
    assert isinstance(answer, SeemResult)
    assert answer.area == pytest.approx(mask.mean())
    assert 0.05 < answer.score <= 1
    assert (answer.size.width, answer.size.height) == size


def test_masks_equal_those_of_the_image_processor_at_the_networks_size(skill: Seem) -> None:
    picture, reference = noise((SIDE, SIDE)), noise((40, 30), 9)
    example = np.asarray(left_half(reference.size).convert("L")) > 127
    inputs = skill._processor(
        images=picture,
        prompt_images=reference,
        prompt_masks=example.astype(np.uint8),
        num_labels=1,
        return_tensors="pt",
    )
    with torch.inference_mode():
        outputs = skill._model(**inputs)
    (expected,) = skill._processor.post_process_semantic_segmentation(outputs, num_labels=1)
    assert expected.any()
    (answer,) = skill.predict([call(picture)])
    assert (mask_of(answer) == expected.bool().numpy()).all()


def test_a_batch_of_odd_pictures_is_one_forward_and_gives_what_each_gives_alone(
    skill: Seem, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [call(noise(size, seed), threshold=0.3) for seed, size in enumerate(ODD_SIZES)]
    alone = [mask_of(skill.predict([one])[0]) for one in calls]
    batches: list[int] = []
    forward: Callable[..., Any] = skill._model.forward

    def counted(**inputs: Any) -> Any:
        batches.append(len(inputs["pixel_values"]))
        return forward(**inputs)

    monkeypatch.setattr(skill._model, "forward", counted)
    for together, one in zip(skill.predict(calls), alone, strict=True):
        assert (mask_of(together) == one).mean() > 0.999
    assert batches == [len(calls)]


@pytest.fixture(scope="module")
def closer(skill: Seem) -> Seem:
    """The same network, which looks at the example alone and at tiles of the picture."""
    loaded = Seem(checkpoint=skill.checkpoint, closer=2.0, tiles=2)
    loaded.setup()
    return loaded


def test_closer_looks_at_odd_pictures_give_what_each_gives_alone(closer: Seem) -> None:
    calls = [call(noise(size, seed), threshold=0.3) for seed, size in enumerate(ODD_SIZES)]
    for together, one in zip(closer.predict(calls), calls, strict=True):
        mask = mask_of(together)
        assert mask.shape == (one.image.height, one.image.width)
        assert (mask == mask_of(closer.predict([one])[0])).mean() > 0.999


def test_the_example_is_seen_alone_and_the_picture_in_tiles(closer: Seem, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def painted(pictures: Any, references: Any, masks: Any) -> torch.Tensor:
        seen.update(pictures=pictures, references=references, masks=masks)
        # Each tile is painted in a brightness of its own.
        return torch.linspace(0.2, 0.8, len(pictures))[:, None, None].expand(-1, SIDE, SIDE)

    monkeypatch.setattr(closer, "_painted", painted)
    mask = Image.new("RGB", (40, 30))
    mask.paste((255, 255, 255), (20, 10, 26, 16))
    (answer,) = closer.predict([call(noise((80, 64)), mask, threshold=0.7)])
    assert [picture.size for picture in seen["pictures"]] == [(50, 40)] * 4
    assert {picture.size for picture in seen["references"]} == {(12, 12)}
    assert all(mask.sum() == 36 for mask in seen["masks"])
    found = mask_of(answer)
    assert found[-1, -1]
    assert not found[:40, :50].any()


def test_nothing_like_the_example_is_an_empty_result(skill: Seem) -> None:
    (answer,) = skill.predict([call(noise((97, 55)), threshold=0.9999)])
    assert isinstance(answer, SeemResult)
    assert (answer.masks_rle, answer.score, answer.area) == ([], 0.0, 0.0)
    assert answer.observation(brief=True) == {"found": False, "score": 0.0, "area": 0.0}


def test_an_empty_reference_mask_fails_its_own_call(skill: Seem) -> None:
    bad, good = skill.predict([call(noise((9, 9)), Image.new("RGB", (40, 30))), call(noise((9, 9)), threshold=0.05)])
    assert isinstance(bad, BadArguments)
    assert "reference mask is empty" in bad.message
    assert bad.details == {"argument": "reference_mask"}
    assert isinstance(good, SeemResult)
    (alone,) = skill.predict([call(noise((9, 9)), Image.new("RGB", (40, 30)))])
    assert isinstance(alone, BadArguments)


def test_a_mask_of_another_size_is_fitted_to_the_reference_picture(skill: Seem) -> None:
    fitted, same = skill.predict([call(noise((50, 50)), left_half((80, 60))), call(noise((50, 50)))])
    assert (mask_of(fitted) == mask_of(same)).all()


def test_masks_shrink_as_the_image_processor_shrinks_them(skill: Seem) -> None:
    example = np.random.default_rng(0).random((45, 71)) > 0.5
    inputs = skill._processor(images=None, prompt_masks=[example.astype(np.uint8)], num_labels=1, return_tensors="pt")
    assert (shrunk(example, SIDE, SIDE) == (inputs["prompt_masks"][0, 0] > 0).numpy()).all()


def test_a_speck_in_a_large_mask_does_not_vanish() -> None:
    example = np.zeros((1001, 1001), dtype=np.bool_)
    example[500, 997] = True
    small = shrunk(example, SIDE, SIDE)
    assert small.sum() == 1
    assert small[15, 31]


def test_thresholds_are_between_0_and_1() -> None:
    for wrong in (0, 1, -1, float("nan")):
        with pytest.raises(ValidationError):
            SeemArgs(threshold=wrong)


def test_the_spec_says_what_is_needed_and_produced() -> None:
    spec = Seem.spec()
    assert spec.consumes == {Symbol.IMAGE, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK}
    assert spec.produces == {"masks_rle": Symbol.MASK}


def test_half_precision_weights_give_masks_too(tmp_path: Path) -> None:
    half = Seem(checkpoint=make(tmp_path), dtype="bfloat16")
    half.setup()
    (answer,) = half.predict([call(noise((97, 55)), threshold=0.05)])
    assert mask_of(answer).shape == (55, 97)
