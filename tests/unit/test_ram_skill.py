from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.models.ram.config import RAM_SWIN_LARGE
from services.models.ram.preprocess import pixels_of
from services.skills.ram import RamArgs, RamResult, RamSkill
from tests.tiny import ram as tiny


@pytest.fixture(scope="module")
def skill(tmp_path_factory: pytest.TempPathFactory) -> RamSkill:
    skill = RamSkill(checkpoint=tiny.make(tmp_path_factory.mktemp("ram")))
    skill.setup()
    return skill


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def tagged(skill: RamSkill, *pictures: Image.Image) -> list[RamResult]:
    answers = skill.predict([SkillCall(RamArgs(), {Symbol.IMAGE: picture}) for picture in pictures])
    assert all(isinstance(answer, RamResult) for answer in answers)
    return list(answers)  # type: ignore[arg-type]


def test_tags_above_their_thresholds_come_with_the_surest_first(skill: RamSkill) -> None:
    (answer,) = tagged(skill, noise(80, 60))
    assert "beach" in answer.tags
    assert "rain" not in answer.tags
    assert answer.scores == sorted(answer.scores, reverse=True)
    assert (answer.size.width, answer.size.height) == (80, 60)


def test_a_batch_of_odd_sizes_is_answered_as_each_picture_alone(skill: RamSkill) -> None:
    pictures = [noise(1, 1), noise(600, 30), noise(30, 600), noise(64, 64)]
    together = tagged(skill, *pictures)
    for picture, answer in zip(pictures, together, strict=True):
        (alone,) = tagged(skill, picture)
        assert alone.tags == answer.tags
        assert alone.scores == pytest.approx(answer.scores, abs=1e-5)


def test_tiles_tell_what_the_whole_picture_hides(skill: RamSkill, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled = RamSkill(checkpoint=skill.checkpoint, tiles=2)
    tiled.setup()
    monkeypatch.setattr(tiled, "_thresholds", torch.zeros(len(tiny.TAGS)))
    pictures = [noise(1, 1), noise(600, 30), noise(64, 80)]
    together = tagged(tiled, *pictures)
    for picture, answer in zip(pictures, together, strict=True):
        (alone,) = tagged(tiled, picture)
        assert (answer.tags, answer.size) == (alone.tags, alone.size)
    # Five looks at each picture: the whole, then its tiles.
    scores = torch.full((2, 5, len(tiny.TAGS)), 0.1)
    scores[0, 0, 0] = scores[0, 3, 1] = scores[1, 0, 2] = scores[1, 1, 2] = 0.9
    monkeypatch.setattr(tiled, "_model", Said(tiled._model.config, torch.logit(scores).flatten(0, 1)))
    first, second = tagged(tiled, noise(64, 64), noise(64, 64))
    assert dict(zip(first.tags, first.scores, strict=True))[tiny.TAGS[0]] == pytest.approx(0.5)
    assert dict(zip(first.tags, first.scores, strict=True))[tiny.TAGS[1]] == pytest.approx(0.5)
    assert second.tags[0] == tiny.TAGS[2]
    assert second.scores[0] == pytest.approx(0.9)


class Said:
    """A network that says what it is told to."""

    def __init__(self, config: Any, logits: torch.Tensor) -> None:
        self.config = config
        self._logits = logits

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        assert len(pixels) == len(self._logits)
        return self._logits


def test_a_picture_above_no_threshold_has_no_tags(skill: RamSkill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skill, "_thresholds", torch.ones(len(tiny.TAGS)))
    (answer,) = tagged(skill, noise(64, 64))
    assert (answer.tags, answer.scores) == ([], [])
    assert answer.observation(brief=True) == {"tags": ""}


def test_planners_are_told_the_tags_and_scores_on_request(skill: RamSkill) -> None:
    (answer,) = tagged(skill, noise(64, 64))
    assert answer.observation(brief=True) == {"tags": ", ".join(answer.tags)}
    assert answer.observation(brief=False)["scores"] == [round(score, 2) for score in answer.scores]


def test_half_precision_gives_the_same_tags_but_for_rounding(tmp_path: Path, skill: RamSkill) -> None:
    half = RamSkill(checkpoint=tiny.make(tmp_path), dtype="bfloat16")
    half.setup()
    (rough,), (exact,) = tagged(half, noise(64, 64)), tagged(skill, noise(64, 64))
    assert dict(zip(rough.tags, rough.scores, strict=True))["beach"] == pytest.approx(
        dict(zip(exact.tags, exact.scores, strict=True))["beach"], abs=0.02
    )


def test_pixels_are_those_of_the_originals_transform() -> None:
    from torchvision import transforms

    original = transforms.Compose(
        [
            transforms.Resize((384, 384)),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    picture = noise(500, 300)
    assert torch.allclose(pixels_of([picture], RAM_SWIN_LARGE)[0], original(picture), atol=1e-5)


def test_specs_need_no_torch() -> None:
    assert RamSkill.spec().args_schema()["properties"] == {}
