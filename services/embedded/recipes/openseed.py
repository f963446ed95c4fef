"""Mask2Former (arXiv 2112.01527) at tiny size: every pixel's concept or background, from the trunk's ResNet.

Beside the set loss, a linear classifier on the mask features names the class of each cell. It is thrown away after
training; with it the features tell classes apart long before queries find them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from services.embedded.training.mask_set_loss import MaskTargets, mask_set_loss
from services.embedded.training.pictures import normalised, plain_view, varied_view
from services.embedded.training.precision import run_in_bf16
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.segments import CLASSES, ClassIoU, class_map
from services.embedded.training.sheet import sheet
from services.embedded.training.trunk import load_trunk, trunk_config
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered
from services.embedded.world.scene import MOST_OBJECTS
from services.models.palette import paint
from services.models.semantic import semantic_map

STRIDE = 4
MOST_CLASSES = MOST_OBJECTS + 1


class OpenSeedRecipeConfig(RecipeConfig):
    steps: int = 10000
    batch_size: int = 24
    learning_rate: float = 6e-4
    trunk_learning_rate: float = 3e-4
    weight_decay: float = 0.02
    clip_norm: float = 2.0
    bf16: bool = False  # the trunk alone computes in bfloat16: sampling locations need float32
    ema: float = 0.999
    size: int = 160
    width: int = 128
    queries: int = 24
    pixel_layers: int = 2
    decoder_layers: int = 5  # transformers counts the learned queries as a layer
    dense_weight: float = 2.0
    dev_scenes: int = 384


class DenseMask2Former(torch.nn.Module):
    """The network and the classifier on its mask features."""

    def __init__(self, network: Any, width: int) -> None:
        super().__init__()
        self.network = network
        self.dense = torch.nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Class logits [layers, batch, queries, classes + 1], mask logits [layers, batch, queries, grid, grid], and
        the classifier's [batch, classes, grid, grid]."""
        output = self.network(pixel_values=pictures, output_auxiliary_logits=True)
        layers = [
            *output.auxiliary_logits,
            {
                "class_queries_logits": output.class_queries_logits,
                "masks_queries_logits": output.masks_queries_logits,
            },
        ]
        return (
            torch.stack([layer["class_queries_logits"] for layer in layers]),
            torch.stack([layer["masks_queries_logits"] for layer in layers]),
            self.dense(output.pixel_decoder_last_hidden_state),
        )


class OpenSeedRecipe(Recipe[OpenSeedRecipeConfig]):
    """See the module."""

    name = "openseed"
    metric = "mIoU"
    needs = ("trunk",)
    Config = OpenSeedRecipeConfig

    def build(self) -> DenseMask2Former:
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

        trunk = trunk_config(("stage1", "stage2", "stage3", "stage4"))
        width = self.config.width
        config = Mask2FormerConfig(
            backbone_config=trunk,
            id2label=dict(enumerate(CLASSES)),
            label2id={name: index for index, name in enumerate(CLASSES)},
            feature_size=width,
            mask_feature_size=width,
            hidden_dim=width,
            num_attention_heads=width // 32,
            encoder_layers=self.config.pixel_layers,
            encoder_feedforward_dim=2 * width,
            decoder_layers=self.config.decoder_layers,
            dim_feedforward=4 * width,
            num_queries=self.config.queries,
        )
        network = Mask2FormerForUniversalSegmentation(config)
        load_trunk(network.model.pixel_level_module.encoder, self.checkpoints["trunk"])
        run_in_bf16(network.model.pixel_level_module.encoder)
        return DenseMask2Former(network, width).to(memory_format=torch.channels_last)

    def parameters(self, model: Any) -> Any:
        trunk = list(model.network.model.pixel_level_module.encoder.parameters())
        known = {id(parameter) for parameter in trunk}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
        return [{"params": rest}, {"params": trunk, "lr": self.config.trunk_learning_rate}]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        chosen = rng.integers(0, len(self.data.train), self.config.batch_size)
        pictures, maps = [], []
        for index in chosen:
            scene = self.data.train[int(index)]
            view = varied_view(scene.image, scene.instances, self.config.size, rng)
            pictures.append(view.image)
            maps.append(class_map(scene, view.instances))
        labels = np.full((len(maps), MOST_CLASSES), -1, np.int64)
        for row, ids in zip(labels, maps, strict=True):
            present = np.unique(ids)
            row[: len(present)] = present
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "classes": torch.from_numpy(np.stack(maps)),
            "labels": torch.from_numpy(labels),
        }

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        class_logits, mask_logits, dense_logits = model(normalised(batch["pictures"]))
        classes = batch["classes"].long()
        targets = MaskTargets.of(classes, batch["labels"], mask_logits.shape[-1])
        losses = mask_set_loss(class_logits, mask_logits, targets)
        middles = classes[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        losses["dense"] = self.config.dense_weight * cross_entropy(dense_logits.float(), middles)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def evaluate(self, model: Any) -> dict[str, float]:
        score = ClassIoU(len(CLASSES))
        count = min(self.config.dev_scenes, len(self.data.dev))
        for start in range(0, count, 32):
            scenes = [self.data.dev[index] for index in range(start, min(start + 32, count))]
            for scene, found in zip(scenes, self._maps(model, scenes), strict=True):
                score.add(found, class_map(scene, scene.instances))
        return {"mIoU": score.mean(), "mIoU_objects": float(np.nanmean(score.by_class()[: len(NAMES)]))}

    def _maps(self, model: Any, scenes: list[Rendered]) -> list[Any]:
        """Class maps at the scenes' size."""
        views = [plain_view(scene.image, scene.instances, self.config.size) for scene in scenes]
        device = next(model.parameters()).device
        pictures = torch.from_numpy(np.stack([view.image for view in views])).to(device)
        class_logits, mask_logits, _ = model(normalised(pictures))
        side = self.config.size
        return [
            semantic_map(classes, masks, (side, side), scene.instances.shape).cpu().numpy()
            for classes, masks, scene in zip(class_logits[-1], mask_logits[-1], scenes, strict=True)
        ]

    def samples(self, model: Any) -> Image.Image:
        """Pictures, the maps found, and the true ones."""
        scenes = [self.data.dev[index] for index in range(min(8, len(self.data.dev)))]
        truth = [class_map(scene, scene.instances) for scene in scenes]
        columns = zip(scenes, self._maps(model, scenes), truth, strict=True)
        return sheet(
            [[scene.image, paint(found, len(CLASSES)), paint(ids, len(CLASSES))] for scene, found, ids in columns]
        )

    def save(self, model: Any, folder: Path) -> None:
        from transformers import Mask2FormerImageProcessor

        model.network.save_pretrained(folder)
        edge = {"shortest_edge": self.config.size, "longest_edge": 2 * self.config.size}
        Mask2FormerImageProcessor(size=edge, num_labels=len(CLASSES)).save_pretrained(folder)


RECIPE = OpenSeedRecipe
