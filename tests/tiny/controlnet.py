from __future__ import annotations

from pathlib import Path

from tests.diffusion_examples import components, controlnet

OPTIONS = {"steps": 2, "side": 32, "base": None}


def make(folder: Path) -> str:
    from diffusers import StableDiffusionControlNetPipeline

    StableDiffusionControlNetPipeline(**components(), controlnet=controlnet()).save_pretrained(folder)
    return str(folder)
