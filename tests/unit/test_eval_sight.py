"""What a planner sees, on a tiny model: a projector that shows nothing, and one that shows something."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402
from transformers import AutoProcessor, LlavaForConditionalGeneration  # noqa: E402

from deploy.evaluation import held_out_captions  # noqa: E402
from planner.eval import sight  # noqa: E402
from tests import tiny_llava  # noqa: E402

SCENES = [(Image.new("RGB", (40, 30), colour), f"A {colour} picture.") for colour in ("red", "green", "blue")]


def losses(folder: Path, monkeypatch: pytest.MonkeyPatch, strength: float) -> sight.CaptionLosses:
    model = LlavaForConditionalGeneration.from_pretrained(tiny_llava.write(folder), dtype="float32").eval()
    with torch.no_grad():
        model.model.multi_modal_projector.linear_2.weight.mul_(strength)
    side, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    monkeypatch.setattr(sight, "load_model", lambda weights: model)
    monkeypatch.setattr(sight, "processor", lambda weights: AutoProcessor.from_pretrained(weights))
    monkeypatch.setattr(sight, "read_vision", lambda weights: SimpleNamespace(tokens=(side // patch) ** 2))
    return sight.caption_losses(folder, SCENES)


def test_another_picture_makes_no_difference_to_a_planner_that_sees_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = losses(tmp_path, monkeypatch, strength=0.0)
    assert blind.own == pytest.approx(blind.other, rel=1e-7)
    assert blind.own > 1.0, "an untrained model is not sure of anything"


def test_another_picture_makes_a_difference_to_a_planner_that_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeing = losses(tmp_path, monkeypatch, strength=30.0)
    assert seeing.own != pytest.approx(seeing.other, rel=1e-6)


def test_one_scene_has_no_other_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give two scenes"):
        sight.caption_losses(tmp_path, SCENES[:1])


def test_held_out_captions_name_what_is_in_the_scene() -> None:
    (first, words), (second, others) = held_out_captions(2)
    assert first.size == second.size == (256, 256)
    assert words != others
    assert words[0].isupper()
    assert words.endswith(".")
