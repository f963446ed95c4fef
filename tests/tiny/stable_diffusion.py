from __future__ import annotations

from pathlib import Path

from tests.diffusion_examples import save_pipeline

OPTIONS = {"steps": 2, "side": 32}


def make(folder: Path) -> str:
    return save_pipeline("StableDiffusionPipeline", folder)
