from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from services.core.errors import SkillFailed
from services.models.ram.checkpoint import OriginalFiles, from_pretrained, load, save_pretrained
from services.models.ram.config import RAM_PLUS_SWIN_LARGE, RAM_SWIN_LARGE, RamConfig, SwinConfig
from services.models.ram.model import Ram
from services.models.ram.original import config_of, interpolated, load_original, tagger_state
from services.models.ram.swin import join, shift_mask, split
from services.models.ram.vocabulary import Vocabulary

# SHA-256 over "name [shape]" lines, sorted, of the tagger's parameters in the original's RAM and RAM_plus with Swin-L
# at 384 pixels, taken from that code (commit 7cb804a).
ORIGINAL_LAYOUTS = [
    (RAM_SWIN_LARGE, 366, "53b23c5ecd7d1e4c01fbbab1b710343d099f7400a5cc6f20dce6a170d925d647"),
    (RAM_PLUS_SWIN_LARGE, 367, "42e0c6c3c9441b29c69651e9bcf6cbc83a6cf0d2d80052bfcd3789bfda774cd7"),
]
TAGS = ["cat", "dog", "sea"]


def tiny(*, plus: bool = False, **changes: Any) -> RamConfig:
    swin = SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=8)
    sizes: dict[str, Any] = {"label_dim": 12, "hidden_size": 16, "intermediate_size": 32, "image_size": 64}
    return RamConfig(swin=swin, num_tags=3, descriptions_per_tag=51 if plus else 1, **(sizes | changes))


def model(config: RamConfig) -> Ram:
    torch.manual_seed(0)
    made: Ram = Ram(config).eval()
    return made


def published(made: Ram) -> dict[str, Any]:
    """What the original's training script saves."""
    tables = {
        f"visual_encoder.layers.{stage}.blocks.{block}.{name}": torch.zeros(2, 2)
        for stage, block, name in [(0, 0, "attn.relative_position_index"), (0, 1, "attn_mask")]
    }
    captioning = {
        "tag_encoder.embeddings.word_embeddings.weight": torch.zeros(9, 4),
        "text_decoder.cls.predictions.bias": torch.zeros(9),
    }
    return {"model": made.state_dict() | tables | captioning, "optimizer": {"state": {}}, "config": {}, "epoch": 4}


@pytest.mark.parametrize(("config", "count", "digest"), ORIGINAL_LAYOUTS, ids=["ram", "ram_plus"])
def test_full_size_parameters_have_the_originals_names_and_shapes(config: RamConfig, count: int, digest: str) -> None:
    with torch.device("meta"):
        state = Ram(config).state_dict()
    lines = sorted(f"{name} {list(value.shape)}" for name, value in state.items())
    assert len(lines) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize("config", [RAM_SWIN_LARGE, RAM_PLUS_SWIN_LARGE], ids=["ram", "ram_plus"])
def test_sizes_are_read_off_a_published_state_dict(config: RamConfig) -> None:
    with torch.device("meta"):
        state = Ram(config).state_dict()
    assert config_of(state, image_size=384) == config


def test_swin_large_at_224_pixels_has_windows_of_7_as_the_originals_configuration() -> None:
    with torch.device("meta"):
        state = Ram(RAM_SWIN_LARGE).state_dict()
    assert config_of(state, image_size=224).swin.window_size == 7


@pytest.mark.parametrize("plus", [False, True])
def test_an_original_file_gives_the_logits_of_its_weights(tmp_path: Path, plus: bool) -> None:
    made = model(tiny(plus=plus))
    torch.save(published(made), tmp_path / "ram.pth")
    loaded = load_original(tmp_path / "ram.pth", image_size=64).eval()
    pixels = torch.randn(2, 3, 64, 64)
    assert loaded.config == made.config
    assert torch.equal(loaded(pixels), made(pixels))


def test_the_heads_first_name_is_understood() -> None:
    state = model(tiny()).state_dict()
    early = {name.replace("tagging_head", "vision_multi"): value for name, value in state.items()}
    assert tagger_state(early).keys() == state.keys()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.pop("fc.weight"), "missing fc.weight; unknown nothing"),
        (lambda state: state.update(mystery=torch.zeros(1)), "missing nothing; unknown mystery"),
        (lambda state: state.pop("label_embed"), "label_embed"),
    ],
)
def test_a_file_with_other_parameters_is_refused_by_name(tmp_path: Path, change: Any, complaint: str) -> None:
    stored = published(model(tiny()))
    change(stored["model"])
    torch.save(stored, tmp_path / "ram.pth")
    with pytest.raises(SkillFailed, match=complaint):
        load_original(tmp_path / "ram.pth", image_size=64)


def test_position_biases_are_interpolated_to_another_window() -> None:
    table = torch.linspace(-1, 1, 15).repeat(15, 1).reshape(-1, 1).repeat(1, 2)
    assert interpolated(table, 15**2) is table
    wider = interpolated(table, 31**2).view(31, 31, 2)
    assert torch.allclose(wider[:, 15], torch.zeros(31, 2), atol=1e-6)
    assert torch.allclose(wider[0, [0, -1], 0], torch.tensor([-1.0, 1.0]), atol=1e-3)
    assert (wider[0, 1:, 0] > wider[0, :-1, 0]).all()


def test_an_original_file_answers_for_another_picture_size(tmp_path: Path) -> None:
    torch.save(published(model(tiny())), tmp_path / "ram.pth")
    loaded = load_original(tmp_path / "ram.pth", image_size=32)
    assert loaded(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_a_saved_folder_gives_the_same_logits_and_tags(tmp_path: Path) -> None:
    made = model(tiny(plus=True))
    save_pretrained(made, Vocabulary.of(TAGS, [0.1, 0.2, 0.3]), tmp_path)
    loaded, vocabulary = from_pretrained(tmp_path)
    kept, saved = loaded.state_dict(), made.state_dict()
    assert kept.keys() == saved.keys()
    assert all(torch.equal(kept[name], saved[name]) for name in saved)
    pixels = torch.randn(1, 3, 64, 64)  # close, not equal: kernels differ with where in memory the weights lie
    torch.testing.assert_close(loaded.eval()(pixels), made(pixels))
    assert (vocabulary.tags, vocabulary.thresholds) == (tuple(TAGS), (0.1, 0.2, 0.3))


def test_tags_and_thresholds_beside_an_original_file_are_found(tmp_path: Path) -> None:
    torch.save(published(model(tiny())), tmp_path / "ram.pth")
    original = OriginalFiles(image_size=64)
    with pytest.raises(SkillFailed, match=r"put ram/data/ram_tag_list\.txt .* beside ram\.pth"):
        load(str(tmp_path), original)
    (tmp_path / "ram_tag_list.txt").write_text("\n".join(TAGS))
    assert load(str(tmp_path), original)[1].thresholds == (0.68,) * 3
    (tmp_path / "ram_tag_list_threshold.txt").write_text("0.5\n0.6\n0.7\n")
    assert load(str(tmp_path / "ram.pth"), original)[1].thresholds == (0.5, 0.6, 0.7)


def test_a_list_of_other_tags_is_refused(tmp_path: Path) -> None:
    torch.save(published(model(tiny())), tmp_path / "ram.pth")
    (tmp_path / "other.txt").write_text("cat\ndog\n")
    with pytest.raises(SkillFailed, match="2 tags, the weights know 3"):
        load(str(tmp_path / "ram.pth"), OriginalFiles(tags=tmp_path / "other.txt", image_size=64))


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of 8, the stride"):
        tiny(image_size=60)
    with pytest.raises(ValidationError, match=r"stage 0: 20 cells are no multiple of window 8"):
        tiny(image_size=80)


def test_windows_are_put_together_as_they_were_split() -> None:
    cells = torch.randn(2, 8, 8, 3)
    windows = split(cells, 4)
    assert torch.equal(windows[:, 1, 0], cells[:, 0, 4])
    assert torch.equal(join(windows, 8), cells)


def test_cells_from_opposite_edges_do_not_see_each_other_in_a_shifted_window() -> None:
    mask = shift_mask(side=4, window=2, shift=1)
    assert (mask[0] == 0).all()
    last = mask[-1]
    assert last.diagonal().eq(0).all()
    assert (last[~torch.eye(4, dtype=torch.bool)] < 0).all()


def test_a_shifted_trunk_sees_over_the_edges_of_windows() -> None:
    trunk = model(tiny(image_size=64)).visual_encoder
    pixels = torch.randn(1, 3, 64, 64)
    other = pixels.clone()
    other[..., :4, :4] += 1.0
    before, after = trunk.maps(pixels)[0], trunk.maps(other)[0]
    changed = (before - after).abs().amax(-1)[0] > 0
    # The first cell's window reaches to cell 7; shifted windows carry the change on to cell 11.
    assert changed[:12, :12].all()
    assert not changed[12:].any()


def test_every_parameter_learns() -> None:
    made = model(tiny(plus=True)).train()
    made(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []


def test_logits_of_features_are_the_models_logits() -> None:
    made = model(tiny())
    pixels = torch.randn(2, 3, 64, 64)
    features = made.features(pixels)
    assert features.shape == (2, 64, 16)
    assert torch.equal(made.logits(features), made(pixels))
