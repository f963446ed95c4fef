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
