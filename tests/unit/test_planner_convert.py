"""Converted checkpoints compute what the originals do, layer by layer, whatever form they were published in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

from planner.chat import prompt_text  # noqa: E402
from planner.conversation import UserTurn  # noqa: E402
from planner.conversion.source import ConversionError, TensorFiles  # noqa: E402
from planner.convert import Options, convert  # noqa: E402
from planner.dialects import dialect  # noqa: E402
from tests import llava_original as original  # noqa: E402

STORED = Options(dtype="stored", turns="v0")


def say(*_: object) -> None:
    pass


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def converted(source: Path, target: Path, options: Options) -> Any:
    from transformers import LlavaForConditionalGeneration

    convert(source, target, options, say)
    return LlavaForConditionalGeneration.from_pretrained(target, local_files_only=True).eval()


def assert_same(model: Any, state: original.State, tower: original.State, layer: int = -2) -> None:
    """Pictures, projector, spliced embeddings, every layer and the logits agree."""
    image = model.config.image_token_id
    before, after = [5, 9, 20], [7, 30, 8, 11]
    pixels = torch.randn(1, 3, original.SIDE, original.SIDE)
    ids = torch.tensor([[*before, *[image] * original.PATCHES, *after]])
    with torch.no_grad():
        features = original.picture_features(tower, pixels, layer)
        pictures = original.projected(state, features)
        expected = original.language_states(state, original.spliced(state, before, pictures, after))
        tower_out = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[layer][:, 1:]
        out = model(input_ids=ids, pixel_values=pixels, output_hidden_states=True)
        torch.testing.assert_close(tower_out, features, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.model.multi_modal_projector(features), pictures, atol=1e-5, rtol=1e-5)
    for made, wanted in zip(out.hidden_states[:-1], expected[:-2], strict=True):  # the last one is normalised there
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)
    rows = state["lm_head.weight"].shape[0]
    torch.testing.assert_close(out.logits[..., :rows], expected[-1], atol=1e-5, rtol=1e-5)
    if out.logits.shape[-1] > rows:
        assert bool((out.logits[..., rows:].amax(-1) < out.logits[..., :rows].amax(-1)).all())


@pytest.mark.parametrize("layers", [1, 2])
def test_every_layer_agrees_with_the_original(tmp_path: Path, layers: int) -> None:
    state, tower = original.language_state() | original.projector_state(layers), original.tower_state()
    source = original.checkpoint_folder(tmp_path / "llava_v0", state)
    clip = original.tower_folder(tmp_path / "clip", tower)
    model = converted(source, tmp_path / "out", Options(tower=clip, dtype="stored"))
    assert_same(model, state, tower)


def test_the_towers_last_layer_is_taken_where_the_checkpoint_says_so(tmp_path: Path) -> None:
    state, tower = original.language_state() | original.projector_state(1), original.tower_state()
    source = original.checkpoint_folder(tmp_path / "llava_v0", state, mm_vision_select_layer=-1)
    clip = original.tower_folder(tmp_path / "clip", tower)
    assert_same(converted(source, tmp_path / "out", Options(tower=clip, dtype="stored")), state, tower, layer=-1)


def test_a_tower_inside_the_checkpoint_is_taken(tmp_path: Path) -> None:
    tower, other = original.tower_state(), original.tower_state()
    inside = {f"model.vision_tower.vision_tower.{name}": tensor for name, tensor in tower.items()}
    state = original.language_state() | original.projector_state(2)
    source = original.checkpoint_folder(tmp_path / "llava_v1", state | inside, files=1)
    clip = original.tower_folder(tmp_path / "clip", other)  # for its geometry alone
    assert_same(converted(source, tmp_path / "out", Options(tower=clip, dtype="stored")), state, tower)


def test_a_delta_is_added_to_its_base(tmp_path: Path) -> None:
    whole = original.language_state() | original.projector_state(1)
    base = original.language_state(rows=original.ROWS - 3)  # the delta has three tokens more
    delta = {}
    for name, tensor in whole.items():
        delta[name] = tensor.clone()
        if name in base and "inv_freq" not in name:
            delta[name][: base[name].shape[0]] -= base[name]
    tower = original.tower_state()
    source = original.checkpoint_folder(tmp_path / "delta-v0", delta)
    plain = original.checkpoint_folder(tmp_path / "base", base, files=1)
    clip = original.tower_folder(tmp_path / "clip", tower)
    model = converted(source, tmp_path / "out", Options(base=plain, tower=clip, dtype="stored"))
    assert_same(model, whole, tower)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    state = original.language_state() | original.projector_state(1)
    return original.checkpoint_folder(tmp_path / "llava", state), original.tower_folder(
        tmp_path / "clip", original.tower_state()
    )


def test_a_cut_run_goes_on_with_the_first_missing_file(parts: tuple[Path, Path], tmp_path: Path) -> None:
    source, clip = parts
    options = Options(tower=clip, dtype="stored", turns="v0", shard_bytes=100_000)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    convert(source, whole, options, say)
    seen: list[str] = []

    def stop_after_two(done: int, total: int, name: str) -> None:
        seen.append(name)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, cut, options, stop_after_two)
    kept = {name: (cut / name).stat().st_ino for name in seen}
    convert(source, cut, options, say)
    assert {name: (cut / name).stat().st_ino for name in seen} == kept
    files = sorted(path.name for path in whole.glob("*.safetensors*"))
    assert len(files) > 4
    assert [(cut / name).read_bytes() for name in files] == [(whole / name).read_bytes() for name in files]
    assert all((whole / name).stat().st_size < 120_000 for name in files if "model-" in name)


def test_a_folder_of_another_conversion_is_left_alone(parts: tuple[Path, Path], tmp_path: Path) -> None:
    source, clip = parts
    convert(source, tmp_path / "out", Options(tower=clip, turns="v0"), say)
    with pytest.raises(ConversionError, match="another conversion: remove it"):
        convert(source, tmp_path / "out", Options(tower=clip, turns="v1"), say)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConversionError, match="not empty"):
        convert(source, tmp_path / "mine", Options(tower=clip, turns="v1"), say)


def test_names_are_those_that_vllm_maps_onto_its_model(parts: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors import safe_open

    source, clip = parts
    convert(source, tmp_path / "out", Options(tower=clip, turns="v0"), say)
    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
        assert file.get_tensor("language_model.model.norm.weight").dtype == torch.float16
    starts = {name[: name.index(".", name.index(".") + 1)] for name in names}
    assert starts == {
        "language_model.model",
        "language_model.lm_head",
        "vision_tower.vision_model",
        "multi_modal_projector.linear_1",
        "multi_modal_projector.linear_2",
    }
    assert not any("inv_freq" in name or "position_ids" in name for name in names)


@pytest.mark.parametrize(
    ("turns", "prompt"),
    [
        (
            "v0",
            "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the human's questions.###Human: <image>\nWhat?###Assistant:",
        ),
        (
            "v1",
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: <image>\nWhat? ASSISTANT:",
        ),
    ],
)
def test_prompts_are_those_of_the_reference(parts: tuple[Path, Path], tmp_path: Path, turns: Any, prompt: str) -> None:
    from transformers import AutoProcessor

    source, clip = parts
    convert(source, tmp_path / "out", Options(tower=clip, turns=turns), say)
    processor = AutoProcessor.from_pretrained(tmp_path / "out", local_files_only=True)
    messages = dialect("llava_plus_v0").messages((UserTurn(text="What?", images=("img_1",)),), [])
    assert prompt_text(processor.tokenizer, messages) == prompt
    assert list(processor.image_processor.image_mean) == [0.5, 0.4, 0.3]
    stops = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert stops["eos_token_id"] == processor.tokenizer.convert_tokens_to_ids("</s>") == 2


def test_tokens_that_the_reference_adds_at_loading_are_added(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    state = original.language_state() | original.projector_state(1)
    source = original.checkpoint_folder(tmp_path / "llava", state, mm_use_im_start_end=True, mm_use_im_patch_token=True)
    clip = original.tower_folder(tmp_path / "clip", original.tower_state())
    convert(source, tmp_path / "out", Options(tower=clip, turns="v0"), say)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    known = len(tokenizer) - 4
    assert tokenizer.convert_tokens_to_ids(["<im_patch>", "<im_start>", "<im_end>", "<image>"]) == [
        known + offset for offset in range(4)
    ]
    text = prompt_text(tokenizer, dialect("llava_plus_v0").messages((UserTurn(text="?", images=("i",)),), []))
    assert "###Human: <im_start><image><im_end>\n?###" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "model.mm_projector.bias"}, "only one or two linear layers"),
        ({"add": "model.extra.weight"}, "no LLaVA model has"),
        ({"tower": None}, "--vision-tower"),
        ({"turns": None}, "say --turns"),
    ],
)
def test_what_is_no_llava_checkpoint_is_refused_in_words(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    state = original.language_state() | original.projector_state(1)
    state.pop(change.get("drop", ""), None)
    if "add" in change:
        state[change["add"]] = torch.zeros(2)
    source = original.checkpoint_folder(tmp_path / "llava", state)
    clip = original.tower_folder(tmp_path / "clip", original.tower_state())
    options = Options(tower=change.get("tower", clip), turns=change.get("turns", "v0"))
    with pytest.raises(ConversionError, match=message):
        convert(source, tmp_path / "out", options, say)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("held", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b""])
def test_a_file_that_was_not_downloaded_whole_is_named(tmp_path: Path, name: str, held: bytes) -> None:
    source = original.checkpoint_folder(tmp_path / "llava", original.language_state() | original.projector_state(1))
    for file in [*source.glob("*.bin"), *source.glob("*.safetensors"), *source.glob("*.index.json")]:
        file.unlink()
    (source / name).write_bytes(held)
    with pytest.raises(ConversionError, match=rf"{re.escape(name)} \({len(held)} bytes\) cannot be read: download it"):
        convert(source, tmp_path / "out", Options(turns="v0"), say)


def test_a_file_of_something_else_than_tensors_is_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConversionError, match=r"pytorch_model\.bin holds something else than tensors"):
        TensorFiles(tmp_path)
