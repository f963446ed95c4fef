"""Pictures of samples as the vision tower takes them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from PIL import Image

MADE_UP = "noise:"
"""Pictures of this name are random ones, for a tower that is not trained: the planner learns to disregard them."""


class Pictures:
    """Loads and prepares pictures.

    Args:
        prepare: a picture processor of transformers.
        side: of a made-up picture, pixels.
    """

    def __init__(self, prepare: Any, side: int) -> None:
        self._prepare = prepare
        self._side = side

    def load(self, name: str, folder: Path | None) -> Any:
        """Normalised pixels [3, side, side].

        Raises:
            FileNotFoundError: the picture is not in `folder`.
        """
        if name.startswith(MADE_UP):
            return noise(name, self._side)
        with Image.open(_file(name, folder)) as picture:
            prepared = self._prepare(images=picture.convert("RGB"), return_tensors="pt")
        return prepared["pixel_values"][0]

    def there(self, name: str, folder: Path | None) -> bool:
        """Whether `load` would find it."""
        return name.startswith(MADE_UP) or _file(name, folder).is_file()

    def blank(self) -> Any:
        """Pixels that stand where a batch has no picture."""
        import torch

        return torch.zeros(3, self._side, self._side)


def _file(name: str, folder: Path | None) -> Path:
    return (folder or Path()) / name


def noise(name: str, side: int) -> Any:
    """A normalised picture [3, side, side] that depends on its name alone: coarse random patches."""
    import torch

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    coarse = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="nearest")[0]
