"""Published checkpoints load: names and shapes at full size, original files, parts on a base."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="diffusion skills run on diffusers")

import torch
from safetensors.torch import save_file

from services.core.errors import SkillFailed
from services.skills.controlnet import ControlNet
from services.skills.inpainting import Inpainting
from services.skills.stable_diffusion import StableDiffusion
from tests import diffusion_examples as tiny
from tests import ldm_names

# Configurations of the published folders: stable-diffusion-v1-5, its inpainting, instruct-pix2pix, sd-controlnet-seg.
UNET = {"sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}


def digest(weights: dict[str, Any]) -> str:
    """Names and shapes in one short text."""
    lines = sorted(f"{name} {tuple(value.shape)}" for name, value in weights.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


# Taken from the original projects' own modules, built from their configuration files (CompVis/stable-diffusion
# v1-inference.yaml with 4, 8 and 9 input channels; lllyasviel/ControlNet cldm_v15.yaml).
@pytest.mark.parametrize(
    ("in_channels", "expected"), [(4, "31a978d7173d3cc6"), (8, "a797a8c40be1a6be"), (9, "a949138d81fff894")]
)
def test_the_full_size_unet_has_the_originals_weights(in_channels: int, expected: str) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        model = UNet2DConditionModel(in_channels=in_channels, attention_head_dim=8, **UNET)
    assert digest(ldm_names.original_unet(model)) == expected


def test_the_full_size_autoencoder_has_the_originals_weights() -> None:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        model = AutoencoderKL(**VAE)
    assert digest(ldm_names.original_vae(model)) == "9190c3ec1cf5cd6d"


def test_the_full_size_controlnet_has_the_originals_weights() -> None:
    from diffusers import ControlNetModel

    with torch.device("meta"):
        model = ControlNetModel(
            block_out_channels=UNET["block_out_channels"], cross_attention_dim=768, attention_head_dim=8
        )
    assert digest(ldm_names.original_unet(model, ldm_names.CONTROL)) == "0d296d5542d8f88d"


def test_the_full_size_text_encoder_is_clip_vit_large() -> None:
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        model = CLIPTextModel(CLIPTextConfig(**TEXT))
    named = ldm_names.original_text(model)
    assert len(named) == 197
    assert sum(value.numel() for value in model.parameters()) == 123_060_480
    assert tuple(named[ldm_names.TEXT + "encoder.layers.11.mlp.fc2.weight"].shape) == (768, 3072)


def test_a_folder_with_the_published_names_of_the_text_encoder_loads(tmp_path: Path) -> None:
    saved = tiny.components()["text_encoder"].state_dict()
    tiny.save_pipeline("StableDiffusionPipeline", tmp_path)
    named = {f"text_model.{name}": value for name, value in saved.items()}
    named["text_model.embeddings.position_ids"] = torch.arange(24)[None]
    save_file(named, tmp_path / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    skill = StableDiffusion(str(tmp_path))
    skill.setup()
    assert_same(skill._pipe.text_encoder, saved)


@pytest.mark.parametrize(("suffix", "channels"), [(".safetensors", 4), (".ckpt", 4), (".ckpt", 9)])
def test_an_original_single_file_loads_offline(tmp_path: Path, suffix: str, channels: int) -> None:
    skill_class = StableDiffusion if channels == 4 else Inpainting
    parts = tiny.components(channels)
    config = configuration_only(tiny.save_pipeline(skill_class.pipeline, tmp_path / "tiny", channels))
    weights = (
        ldm_names.original_unet(parts["unet"])
        | ldm_names.original_vae(parts["vae"])
        | ldm_names.original_text(parts["text_encoder"])
    )
    file = tmp_path / f"original{suffix}"
    if suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in weights.items()}, file)
    else:
        torch.save({"state_dict": weights, "global_step": 1}, file)
    skill = skill_class(str(file), config=config)
    skill.setup()
    for name in ("unet", "vae", "text_encoder"):
        assert_same(getattr(skill._pipe, name), parts[name].state_dict())


def test_a_controlnet_steers_the_pipeline_that_is_its_base(tmp_path: Path) -> None:
    base = tiny.save_pipeline("StableDiffusionPipeline", tmp_path / "base")
    tiny.controlnet().save_pretrained(tmp_path / "controlnet")
    skill = ControlNet(str(tmp_path / "controlnet"), base=base)
    skill.setup()
    assert_same(skill._pipe.controlnet, tiny.controlnet().state_dict())
    assert_same(skill._pipe.unet, tiny.components()["unet"].state_dict())


def test_an_original_controlnet_file_loads_offline(tmp_path: Path) -> None:
    base = tiny.save_pipeline("StableDiffusionPipeline", tmp_path / "base")
    tiny.controlnet().save_pretrained(tmp_path / "controlnet")
    torch.save(ldm_names.original_unet(tiny.controlnet(), ldm_names.CONTROL), tmp_path / "control.pth")
    config = configuration_only(str(tmp_path / "controlnet"))
    skill = ControlNet(str(tmp_path / "control.pth"), base=base, config=config)
    skill.setup()
    assert_same(skill._pipe.controlnet, tiny.controlnet().state_dict())


def test_a_unet_alone_takes_the_rest_from_its_base(tmp_path: Path) -> None:
    base = tiny.save_pipeline("StableDiffusionPipeline", tmp_path / "base")
    parts = tiny.components(9)
    parts["unet"].save_pretrained(tmp_path / "unet")
    skill = Inpainting(str(tmp_path / "unet"), base=base)
    skill.setup()
    assert skill._pipe.unet.config.in_channels == 9
    assert_same(skill._pipe.unet, parts["unet"].state_dict())


def test_the_scheduler_can_be_chosen(tmp_path: Path) -> None:
    skill = StableDiffusion(tiny.save_pipeline("StableDiffusionPipeline", tmp_path), scheduler="dpm++")
    skill.setup()
    assert type(skill._pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert skill._pipe.scheduler.config.beta_schedule == "scaled_linear"


def test_asking_for_a_safety_checker_that_is_not_there_fails_at_the_start(tmp_path: Path) -> None:
    skill = StableDiffusion(tiny.save_pipeline("StableDiffusionPipeline", tmp_path), safety_checker=True)
    with pytest.raises(SkillFailed, match="has no safety checker"):
        skill.setup()


def configuration_only(folder: str) -> str:
    """A copy of a checkpoint's folder without its weights."""
    copy = folder + "-configuration"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    return copy


def assert_same(model: Any, expected: dict[str, Any]) -> None:
    weights = model.state_dict()
    assert set(weights) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
