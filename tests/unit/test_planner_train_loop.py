"""Training on a tiny model: what is learned, packed, frozen, resumed and written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")


from planner.train.config import ConfigError, TrainConfig  # noqa: E402
from planner.train.models import Base, counts, load, prepare  # noqa: E402
from planner.train.recipe import Outcome, main, planned  # noqa: E402
from tests import tiny_llava  # noqa: E402
from tests.tiny_training import configured, write_data  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they give in a model of this size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def run(config: TrainConfig, **options: Any) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    return main(config, said.append, **options), said


def weights(folder: Path, name: str = "adapter_model.safetensors") -> dict[str, Any]:
    from safetensors.torch import load_file

    loaded: dict[str, Any] = load_file(folder / name)
    return loaded


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "change", [{"language": "lora"}, {"language": "full", "projector": True, "accumulation": 2, "epochs": 2}]
)
def test_a_run_that_was_cut_and_goes_on_ends_with_the_very_weights_of_one_that_was_not(
    model: Path, data: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    file = "adapter_model.safetensors" if change["language"] == "lora" else "model.safetensors"
    whole, _ = run(configured(model, data, tmp_path / "whole", **change))
    cut = configured(model, data, tmp_path / "cut", **change)
    first, said = run(cut, minutes=0)
    assert (first.finished, whole.finished) == (False, True)
    assert said[-1].startswith("stopped after step 1 of 12")
    assert not (tmp_path / "cut" / "out").exists()
    second, said = run(cut)
    assert second.finished
    assert "going on from step 1 of 12" in said
    assert_equal(weights(tmp_path / "whole" / "out", file), weights(tmp_path / "cut" / "out", file))
    points = json.loads((tmp_path / "cut" / "out" / "curve.json").read_text())
    assert points[-1]["step"] == 12
    assert points[-1]["samples"] == 12 * change.get("epochs", 1)
    assert (tmp_path / "cut" / "out" / "curve.png").is_file()


def test_training_lowers_the_loss_and_tells_of_choices_and_the_time_left(
    model: Path, data: Path, tmp_path: Path
) -> None:
    _, said = run(configured(model, data, tmp_path, epochs=2, learning_rate=1e-2, language="full"))
    points = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert points[-1]["loss"] < 0.8 * points[0]["loss"]
    assert all(0 <= point["choice_right"] <= 1 for point in points)
    lines = [line for line in said if line.startswith("step ")]
    assert "choice" in lines[0]
    assert "left" in lines[0]
    assert lines[-1].startswith("step 24/24")
    assert list((tmp_path / "run" / "tensorboard").rglob("events*")) or not _tensorboard()


def _tensorboard() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorboard") is not None


def test_the_projector_stage_changes_the_projector_alone(model: Path, data: Path, tmp_path: Path) -> None:
    captions = [{"path": data / "captions.json", "images": data}]
    stage1 = configured(
        model, data, tmp_path, language="frozen", projector=True, form="caption", data=captions, epochs=2
    )
    run(stage1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "curve.json",
        "curve.png",
        "projector.safetensors",
    ]
    before = load(stage1).model
    after = load(stage1.model_copy(update={"projector_from": tmp_path / "out" / "projector.safetensors"})).model
    changed = {
        name.split(".")[1]
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed == {"multi_modal_projector"}


def test_a_caption_is_learned_with_its_stop_token_and_without_any_words_of_a_chat(
    model: Path, data: Path, tmp_path: Path
) -> None:
    captions = [{"path": data / "captions.json", "images": data}]
    config = configured(model, data, tmp_path, language="frozen", projector=True, form="caption", data=captions)
    base = load(config)
    batches = planned(base, config)
    encoded = batches.encoded(0)
    tok = base.tokenizer
    assert tok.decode(encoded.ids) == "<image>" * tiny_llava.PICTURE_TOKENS + "\nA red picture.<|im_end|>"
    kept = [token for token, weight in zip(encoded.ids, encoded.weights, strict=True) if weight]
    assert tok.decode(kept) == "A red picture.<|im_end|>"


def test_packed_samples_get_the_loss_that_each_has_alone(model: Path, data: Path, tmp_path: Path) -> None:
    alone = configured(model, data, tmp_path)
    packed = configured(model, data, tmp_path, packing=True, lengths=[2048], batch_tokens=2048)
    base = load(alone)

    def losses(config: TrainConfig) -> tuple[float, int]:
        batches = planned(base, config)
        total = count = 0.0
        for batch in (batches[index] for index in range(len(batches))):
            targets = int((batch["labels"][:, 1:] != -100).sum())
            total += base.model(**batch)["loss"].item() * targets
            count += targets
        return total, int(count)

    base.model.eval()
    with torch.no_grad():
        (separate, many), (together, same) = losses(alone), losses(packed)
    assert len(planned(base, packed)) < len(planned(base, alone))
    assert many == same
    assert together == pytest.approx(separate, rel=1e-5)


def test_samples_of_a_packed_row_do_not_see_each_other(model: Path, data: Path, tmp_path: Path) -> None:
    config = configured(model, data, tmp_path, packing=True, lengths=[2048], batch_tokens=2048)
    base = load(config)
    batch = planned(base, config)[0]
    starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    assert len(starts) > 3  # samples, and the padding
    inputs = {name: batch[name] for name in ("input_ids", "position_ids", "pixel_values")}
    base.model.eval()
    with torch.no_grad():
        before = base.model.model(**inputs, use_cache=False).last_hidden_state
        inputs["input_ids"] = inputs["input_ids"].clone()
        inputs["input_ids"][0, starts[1] - 3 : starts[1]] = 65
        after = base.model.model(**inputs, use_cache=False).last_hidden_state
    assert not torch.equal(before[0, : starts[1]], after[0, : starts[1]])
    torch.testing.assert_close(before[0, starts[1] :], after[0, starts[1] :])


def test_gradient_checkpointing_gives_the_same_weights(model: Path, data: Path, tmp_path: Path) -> None:
    plain = configured(model, data, tmp_path / "plain")
    saving = configured(model, data, tmp_path / "saving", gradient_checkpointing=True)
    run(plain)
    run(saving)
    first, second = weights(tmp_path / "plain" / "out"), weights(tmp_path / "saving" / "out")
    for name, tensor in first.items():
        torch.testing.assert_close(tensor.float(), second[name].float(), atol=1e-3, rtol=1e-2)


def test_a_full_run_writes_a_model_that_loads_and_is_another(model: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    config = configured(model, data, tmp_path, language="full", projector=True)
    run(config)
    names = set(weights(tmp_path / "out", "model.safetensors"))
    assert names == set(weights(model, "model.safetensors"))
    made = LlavaForConditionalGeneration.from_pretrained(tmp_path / "out", local_files_only=True)
    old = LlavaForConditionalGeneration.from_pretrained(model, local_files_only=True)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [
        "LlavaForConditionalGeneration"
    ]
    assert AutoProcessor.from_pretrained(tmp_path / "out").tokenizer.chat_template
    same = {
        name.split(".")[1] if name.startswith("model.") else name
        for (name, a), b in zip(made.named_parameters(), old.parameters(), strict=True)
        if torch.equal(a, b)
    }
    assert same == {"vision_tower"}
    assert not (tmp_path / "run" / "model").exists()


def test_a_merged_adapter_answers_as_the_adapter_beside_its_model_does(model: Path, data: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlavaForConditionalGeneration

    run(configured(model, data, tmp_path / "beside", learning_rate=1e-2))
    run(configured(model, data, tmp_path / "merged", learning_rate=1e-2, merge=True))
    bare = LlavaForConditionalGeneration.from_pretrained(model, local_files_only=True)
    merged = LlavaForConditionalGeneration.from_pretrained(tmp_path / "merged" / "out", local_files_only=True)
    ids = torch.tensor([[70, 71, 72, 73]])
    with torch.no_grad():
        plain = bare(input_ids=ids).logits.clone()
        beside = PeftModel.from_pretrained(bare, tmp_path / "beside" / "out")(input_ids=ids).logits
        together = merged(input_ids=ids).logits
    torch.testing.assert_close(together, beside, atol=2e-2, rtol=2e-2)
    assert not torch.allclose(plain, beside, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("change", "trained"),
    [
        ({"language": "frozen", "projector": True, "form": "caption"}, {"multi_modal_projector"}),
        ({"language": "full"}, {"language_model", "lm_head"}),
        ({"language": "full", "projector": True}, {"language_model", "lm_head", "multi_modal_projector"}),
        ({"language": "lora"}, {"lora_A", "lora_B"}),
        ({"language": "lora", "projector": True}, {"lora_A", "lora_B", "multi_modal_projector"}),
    ],
)
def test_only_what_the_configuration_names_is_trained(
    model: Path, data: Path, tmp_path: Path, change: dict[str, Any], trained: set[str]
) -> None:
    config = configured(model, data, tmp_path, **change)
    prepared = prepare(load(config), config)
    assert _parts(prepared) == trained
    whole, active = counts(prepared.model)
    assert 0 < active < whole


def _parts(base: Base) -> set[str]:
    known = ("lora_A", "lora_B", "multi_modal_projector", "vision_tower", "language_model", "lm_head")
    names = [name for name, parameter in base.model.named_parameters() if parameter.requires_grad]
    return {next(part for part in known if part in name) for name in names}


def test_ablations_change_what_they_say(model: Path, data: Path, tmp_path: Path) -> None:
    plain = load(configured(model, data, tmp_path))
    last = load(configured(model, data, tmp_path, vision_layer=-1))
    fresh = load(configured(model, data, tmp_path, projector_fresh=True))
    pixels = torch.randn(1, 3, tiny_llava.SIDE, tiny_llava.SIDE)

    def seen(base: Base) -> Any:
        with torch.no_grad():
            return base.model.model.get_image_features(pixels, return_dict=True).pooler_output[0]

    assert not torch.allclose(seen(plain), seen(last))
    assert not torch.allclose(seen(plain), seen(fresh))
    assert torch.equal(seen(fresh), seen(load(configured(model, data, tmp_path, projector_fresh=True))))
    wordless = configured(model, data, tmp_path, thoughts=False)
    text = plain.tokenizer.decode(planned(plain, wordless).encoded(0).ids)
    assert '"thoughts":""' in text
    assert "Find." not in text


def test_a_batch_without_pictures_gets_an_unseen_one_where_devices_must_keep_step(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wordy = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi."}], "tools": []}
    (tmp_path / "chat.jsonl").write_text(json.dumps(wordy))
    config = configured(model, data, tmp_path, data=[{"path": tmp_path / "chat.jsonl"}])
    base = load(config)
    alone = planned(base, config)[0]
    assert "pixel_values" not in alone
    monkeypatch.setenv("WORLD_SIZE", "8")
    among_many = planned(base, config)[0]
    assert among_many["pixel_values"].shape == (1, 3, tiny_llava.SIDE, tiny_llava.SIDE)
    with torch.no_grad():
        assert base.model(**among_many)["loss"].item() == pytest.approx(base.model(**alone)["loss"].item(), rel=1e-5)


def test_a_run_does_not_go_on_with_other_samples_or_settings(model: Path, data: Path, tmp_path: Path) -> None:
    assert run(configured(model, data, tmp_path))[0].finished
    assert run(configured(model, data, tmp_path, log_every=1))[0].finished
    with pytest.raises(ConfigError, match=r"run holds a run that was begun with other learning_rate: name another"):
        run(configured(model, data, tmp_path, learning_rate=1e-3))
    with pytest.raises(ConfigError, match=r"begun with other samples"):
        run(configured(model, data, tmp_path, epochs=2))


def test_pictures_that_are_missing_and_skills_that_there_are_not_are_named_before_the_first_step(
    model: Path, data: Path, tmp_path: Path
) -> None:
    elsewhere = configured(model, data, tmp_path, data=[{"path": data / "samples.jsonl", "images": tmp_path}])
    with pytest.raises(ConfigError, match=r"12 pictures are not there, such as .*0\.png: see `images`"):
        run(elsewhere)
    with pytest.raises(ConfigError, match=r"there is no skill 'grounding_dyno'. Known: .*grounding_dino"):
        run(configured(model, data, tmp_path, learned=["grounding_dyno"]))


def test_samples_that_are_left_out_are_told_of(model: Path, data: Path, tmp_path: Path) -> None:
    samples = [json.loads(line) for line in (data / "samples.jsonl").read_text().splitlines()]
    samples[3]["without"] = ["easyocr"]
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)))
    _, said = run(configured(model, data, tmp_path, data=[{"path": tmp_path / "samples.jsonl", "images": data}]))
    assert any(line.startswith("1 samples are left out: longer than 1024 tokens") for line in said)
