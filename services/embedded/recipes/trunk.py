"""The ResNet that Grounding DINO and Mask2Former start from: trained to say what covers each cell of the picture.

Every cell of the maps at strides 8, 16 and 32 is classified by what its middle shows, so that one
picture teaches hundreds of labels; a small network learns sprites this way from few pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.embedded.training.pictures import normalised, plain_view, varied_view
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.trunk import STRIDES, trunk_config
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import BACKGROUNDS, NAMES


class TrunkConfig(RecipeConfig):
    steps: int = 6000
    batch_size: int = 64
    learning_rate: float = 2e-3
    size: int = 160
    tag_weight: float = 2.0


class CellClassifier(torch.nn.Module):
    """A ResNet backbone with a linear classifier on each of its maps and one for the picture's tags."""

    def __init__(self, classes: int, tags: int) -> None:
        from transformers import ResNetBackbone

        super().__init__()
        config = trunk_config()
        self.backbone = ResNetBackbone(config)
        self.cells = torch.nn.ModuleList(torch.nn.Conv2d(channels, classes, 1) for channels in self.backbone.channels)
        self.tags = torch.nn.Linear(self.backbone.channels[-1], tags)
        torch.nn.init.constant_(self.tags.bias, -3.5)

    def forward(self, pictures: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Cell logits per stride [batch, classes, side / stride, side / stride], and tag logits [batch, tags]."""
        maps = self.backbone(pictures).feature_maps
        return [cell(grid) for cell, grid in zip(self.cells, maps, strict=True)], self.tags(maps[-1].mean((2, 3)))


class Trunk(Recipe[TrunkConfig]):
    """See the module."""

    name = "trunk"
    metric = "cell_accuracy"
    Config = TrunkConfig

    def build(self) -> CellClassifier:
        model = CellClassifier(len(NAMES) + len(BACKGROUNDS), len(NAMES))
        return model.to(memory_format=torch.channels_last)

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        chosen = rng.integers(0, len(self.data.train), self.config.batch_size)
        return self._collated(self.data.train, chosen, rng)

    def _collated(self, cache: SceneCache, chosen: Any, rng: np.random.Generator | None) -> dict[str, Any]:
        pictures, labels, tags = [], [], []
        for index in chosen:
            scene = cache[int(index)]
            if rng is None:
                view = plain_view(scene.image, scene.instances, self.config.size)
            else:
                view = varied_view(scene.image, scene.instances, self.config.size, rng)
            table = np.full(256, len(NAMES) + BACKGROUNDS.index(scene.scene.background), np.int64)
            for number, item in enumerate(scene.objects):
                table[number + 1] = NAMES.index(item.concept)
            classes = table[view.instances]
            pictures.append(view.image)
            labels.append(classes)
            seen = np.unique(classes)
            tags.append(np.isin(np.arange(len(NAMES)), seen))
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "classes": torch.from_numpy(np.stack(labels)),
            "tags": torch.from_numpy(np.stack(tags).astype(np.float32)),
        }

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        cells, tags = model(normalised(batch["pictures"]))
        losses = {}
        for stride, logits in zip(STRIDES, cells, strict=True):
            middle = batch["classes"][:, stride // 2 :: stride, stride // 2 :: stride]
            losses[f"cells{stride}"] = torch.nn.functional.cross_entropy(logits.float(), middle)
        losses["tags"] = torch.nn.functional.binary_cross_entropy_with_logits(tags.float(), batch["tags"]) * 20
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def evaluate(self, model: Any) -> dict[str, float]:
        device = next(model.parameters()).device
        right = count = object_right = object_count = 0
        for start in range(0, min(len(self.data.dev), 512), 64):
            batch = self._collated(self.data.dev, range(start, min(start + 64, len(self.data.dev))), None)
            cells, _ = model(normalised(batch["pictures"].to(device)))
            wanted = batch["classes"][:, 8::16, 8::16].to(device)
            hits = cells[1].argmax(1) == wanted
            is_object = wanted < len(NAMES)
            right += int(hits.sum())
            count += hits.numel()
            object_right += int(hits[is_object].sum())
            object_count += int(is_object.sum())
        return {"cell_accuracy": right / count, "object_cells": object_right / max(object_count, 1)}

    def save(self, model: Any, folder: Path) -> None:
        model.backbone.save_pretrained(folder)


RECIPE = Trunk
