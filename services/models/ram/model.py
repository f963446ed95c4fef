"""RAM and RAM++ as one module: trunk, label features, tagging head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.models.ram.config import RamConfig
from services.models.ram.swin import SwinTransformer
from services.models.ram.tagging import TaggingHead

# CLIP's initial temperature, from which RAM++ starts too.
_TEMPERATURE = 0.07


class Ram(nn.Module):
    """Scores every tag of its list for a picture.

    Label features are random until trained or loaded: CLIP's text features are in the published checkpoints.
    """

    def __init__(self, config: RamConfig) -> None:
        super().__init__()
        self.config = config
        self.visual_encoder = SwinTransformer(config.swin, config.image_size)
        self.image_proj = nn.Linear(config.swin.out_dim, config.label_dim)
        features = torch.randn(config.num_tags * config.descriptions_per_tag, config.label_dim)
        # Of length one, as CLIP's are.
        self.label_embed = nn.Parameter(functional.normalize(features, dim=-1))
        if config.plus:
            self.reweight_scale = nn.Parameter(torch.tensor(math.log(1 / _TEMPERATURE)))
        same = config.hidden_size == config.label_dim
        self.wordvec_proj = nn.Identity() if same else nn.Linear(config.label_dim, config.hidden_size)
        self.tagging_head = TaggingHead(config)
        self.fc = nn.Linear(config.hidden_size, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [batch, 3, image_size, image_size] to logits [batch, tags]."""
        return self.logits(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """The trunk's last map as cells [batch, cells, channels], row by row."""
        cells: Tensor = self.visual_encoder(pixels)
        return cells

    def logits(self, features: Tensor) -> Tensor:
        """What `features` gave to logits [batch, tags]."""
        # The mean of all cells stands for the whole picture and is one more cell to look at.
        cells = self.image_proj(torch.cat([features.mean(1, keepdim=True), features], dim=1))
        labels = functional.relu(self.wordvec_proj(self._label_features(cells[:, 0])))
        logits: Tensor = self.fc(self.tagging_head(labels, cells)).squeeze(-1)
        return logits

    def _label_features(self, picture: Tensor) -> Tensor:
        """One feature for each tag, [batch or 1, tags, label_dim], given the whole picture's [batch, label_dim]."""
        if not self.config.plus:
            return self.label_embed.unsqueeze(0)
        described = self.label_embed.unflatten(0, (self.config.num_tags, self.config.descriptions_per_tag))
        scale = self.reweight_scale.exp()
        alike = torch.einsum("bd,tnd->btn", scale * functional.normalize(picture, dim=-1), described)
        return torch.einsum("btn,tnd->btd", alike.softmax(-1), described)
