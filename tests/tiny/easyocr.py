from __future__ import annotations

from pathlib import Path


def make(folder: Path) -> str:
    """EasyOCR's own weights, which a package carries: there are no smaller ones."""
    from easyocr_en_models import model_dir

    return str(model_dir())
