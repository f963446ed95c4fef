"""Pictures to pixels as RAM was trained on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from services.models.ram.config import RamConfig


def pixels_of(pictures: Sequence[Image.Image], config: RamConfig) -> Tensor:
    """RGB pictures of any size to [batch, 3, image_size, image_size], squeezed to a square and normalised."""
    side = (config.image_size, config.image_size)
    resized = [np.asarray(picture.resize(side, Image.Resampling.BILINEAR)) for picture in pictures]
    return normalised(torch.from_numpy(np.stack(resized)), config)


def normalised(pixels: Tensor, config: RamConfig) -> Tensor:
    """RGB bytes [batch, height, width, 3] to floats [batch, 3, height, width]."""
    mean = torch.tensor(config.image_mean, device=pixels.device) * 255
    deviation = torch.tensor(config.image_std, device=pixels.device) * 255
    return ((pixels - mean) / deviation).permute(0, 3, 1, 2)
