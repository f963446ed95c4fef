"""Pictures as tensors, before an image processor scales and normalises them in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def byte_tensors(pictures: Sequence[Image.Image], device: str) -> list[Any]:
    """RGB pictures as uint8 tensors [3, height, width] on a device, so that resizing happens there.

    Processors take them with `input_data_format="channels_first"`, and then never guess which axis is which (a PIL
    picture three pixels high is ambiguous to them).
    """
    import torch

    return [torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).to(device) for picture in pictures]


def not_too_thin(picture: Image.Image, elongation_max: int) -> Image.Image:
    """The picture, its short side stretched where the long side is more than `elongation_max` times as long.

    Processors that keep the aspect ratio within a longest edge would scale the short side of such a strip to nothing.
    """
    width, height = picture.size
    size = max(width, -(-height // elongation_max)), max(height, -(-width // elongation_max))
    return picture if size == picture.size else picture.resize(size)
