from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.core.errors import SkillFailed
from services.models.grounding_dino import load_detector, restore_text_positions
from services.models.grounding_dino_original import config_of, converted, load_original
from tests.grounding_dino_names import SMALL, SWIN_B_COGCOOR, SWIN_T_OGC, Variant, original_shapes, random_state

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def on_meta(variant: Variant) -> dict[str, Any]:
    return {name: torch.empty(shape, device="meta") for name, shape in original_shapes(variant).items()}


@pytest.fixture(scope="module")
def original_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the project publishes it: wrapped, with the prefix of data-parallel training and leftovers of it."""
    state = {f"module.{name}": value for name, value in random_state(SMALL).items()}
    state["module.label_enc.weight"] = torch.zeros(3, 4)
    state["module.bert.embeddings.position_ids"] = torch.arange(32)[None]
    file = tmp_path_factory.mktemp("original") / "groundingdino.pth"
    torch.save({"model": state}, file)
    return file


@pytest.mark.parametrize(
    ("variant", "depths", "window"), [(SWIN_T_OGC, [2, 2, 6, 2], 7), (SWIN_B_COGCOOR, [2, 2, 18, 2], 12)]
)
def test_every_tensor_of_the_published_files_has_its_place(variant: Variant, depths: list[int], window: int) -> None:
    state = on_meta(variant)
    config = config_of(state)
    assert (config.backbone_config.depths, config.backbone_config.window_size) == (depths, window)
    assert (config.num_queries, config.d_model, config.max_text_len) == (900, 256, 256)
    assert (config.encoder_layers, config.decoder_layers, config.num_feature_levels) == (6, 6, 4)
    assert (config.encoder_n_points, config.decoder_n_points, config.encoder_ffn_dim) == (4, 4, 2048)
    assert config.text_config.num_attention_heads == config.text_config.num_hidden_layers == 12
    with torch.device("meta"):
        model = transformers.GroundingDinoForObjectDetection(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in converted(state).items()}
    assert given == wanted


def test_the_configs_are_those_of_the_published_hub_checkpoints() -> None:
    default = transformers.GroundingDinoConfig().to_dict()
    tiny = config_of(on_meta(SWIN_T_OGC)).to_dict()
    assert {name for name in default if default[name] != tiny[name]} == set()
    base = config_of(on_meta(SWIN_B_COGCOOR)).to_dict()
    assert {name for name in default if default[name] != base[name]} == {"backbone_config"}
    backbone = {
        name: value for name, value in base["backbone_config"].items() if value != default["backbone_config"][name]
    }
    assert backbone == {
        "image_size": 384,
        "embed_dim": 128,
        "depths": [2, 2, 18, 2],
        "num_heads": [4, 8, 16, 32],
        "window_size": 12,
        "hidden_size": 1024,
    }


def test_outputs_are_those_of_the_original_code(original_file: Path) -> None:
    model = load_original(str(original_file)).eval()
    restore_text_positions(model)
    picture = torch.randn(3, 64, 96, generator=torch.Generator().manual_seed(7))
    # "a b . c ." in made-up words, between [CLS] and [SEP].
    input_ids = torch.tensor([[101, 1040, 1041, 1012, 1050, 1012, 102]])
    with torch.inference_mode():
        output = model(pixel_values=picture[None], input_ids=input_ids)
    # From the original's own code with the same weights: every fourth query.
    logits = torch.tensor(
        [
            [-35.100101, -11.897481, -18.306553, -21.175953, -28.791361, -33.144138, -37.311291],
            [-34.241093, -13.716335, -20.826904, -23.892595, -29.866718, -33.425224, -36.685505],
            [-35.400326, -10.432573, -18.381304, -19.725229, -29.462137, -33.830154, -34.316513],
        ]
    )
    boxes = torch.tensor(
        [
            [0.847233, 0.738074, 0.038696, 0.052018],
            [0.317850, 0.845021, 0.038585, 0.051833],
            [0.400494, 0.737509, 0.038530, 0.052404],
        ]
    )
    torch.testing.assert_close(output.logits[0, ::4, :7], logits, atol=1e-3, rtol=0)
    torch.testing.assert_close(output.pred_boxes[0, ::4], boxes, atol=1e-5, rtol=0)


def test_a_checkpoint_of_the_hub_loads_whole_under_the_names_it_was_published_with(
    original_file: Path, tmp_path: Path
) -> None:
    model = load_original(str(original_file))
    model.save_pretrained(tmp_path)
    _with_first_names(tmp_path / "model.safetensors")
    loaded, report = transformers.GroundingDinoForObjectDetection.from_pretrained(tmp_path, output_loading_info=True)
    assert {kind: list(names) for kind, names in report.items() if names} == {}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def _with_first_names(file: Path) -> None:
    """Swin's tensors as transformers 4 called them, when IDEA-Research's checkpoints were put on the hub."""
    from safetensors.torch import load_file, save_file

    backbone = "model.backbone.conv_encoder.model."
    table = ".attention.relative_position_bias.relative_position_bias_table"
    first_names = {
        backbone + "swin.": backbone,
        ".attention.q_proj.": ".attention.self.query.",
        ".attention.k_proj.": ".attention.self.key.",
        ".attention.v_proj.": ".attention.self.value.",
        ".attention.o_proj.": ".attention.output.dense.",
        ".mlp.fc1.": ".intermediate.dense.",
        ".mlp.fc2.": ".output.dense.",
        table: ".attention.self.relative_position_bias_table",
    }
    renamed = {}
    for name, value in load_file(file).items():
        if name.startswith(backbone):
            if ".swin.layernorm." in name:
                continue
            for new, old in first_names.items():
                name = name.replace(new, old)
        renamed[name] = value
        if name.endswith(".relative_position_bias_table"):
            side = (round(value.shape[0] ** 0.5) + 1) // 2
            renamed[name.replace("bias_table", "index")] = torch.zeros(side**2, side**2, dtype=torch.int64)
    assert any(".attention.self.query." in name for name in renamed)
    save_file(renamed, file, metadata={"format": "pt"})


def test_another_models_file_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    torch.save({"model": {"visual.proj": torch.zeros(2, 2)}}, tmp_path / "clip.pth")
    with pytest.raises(SkillFailed, match=r"no GroundingDINO weights: transformer\.level_embed is missing"):
        load_detector(str(tmp_path / "clip.pth"), "bert-base-uncased")


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    state = random_state(SMALL)
    del state["feat_map.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(SkillFailed, match=r"do not fit the model: missing_keys model\.text_projection\.weight"):
        load_original(str(tmp_path / "cut.pth"))


def test_files_that_hold_code_or_nothing_are_refused(tmp_path: Path) -> None:
    import argparse

    torch.save({"model": {"x": torch.zeros(1)}, "args": argparse.Namespace(lr=1)}, tmp_path / "objects.pth")
    with pytest.raises(SkillFailed, match="holds more than tensors"):
        load_original(str(tmp_path / "objects.pth"))
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 half a download")
    with pytest.raises(SkillFailed, match="cannot be read as PyTorch weights"):
        load_original(str(tmp_path / "cut.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(SkillFailed, match="holds no state dict"):
        load_original(str(tmp_path / "list.pth"))
