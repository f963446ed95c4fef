"""SAM (arXiv 2304.02643) at tiny size: a box, or points, in; the object's mask out.

Batches with a box a prompt train the single mask, batches with points the three masks of which the
best one is trained; the IoU head learns to tell which that is. Beside the masks, every cell of the
picture embedding is asked what covers it, by a classifier that is thrown away: masks alone teach a
picture encoder from scratch far more slowly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from services.embedded.training.mask_loss import dice, focal, soft_iou
from services.embedded.training.pictures import OBJECT_AREA_MIN, normalised, plain_view, varied_view
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.world.cache import SceneCache


class SamRecipeConfig(RecipeConfig):
    steps: int = 8000
    batch_size: int = 16
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    bf16: bool = False
    ema: float = 0.995
    size: int = 160
    prompts: int = 6


class SamWithCells(torch.nn.Module):
    """SAM and, for training alone, a classifier of the picture embedding's cells."""

    def __init__(self, sam: Any, classes: int) -> None:
        super().__init__()
        self.sam = sam
        self.cells = torch.nn.Conv2d(sam.config.vision_config.output_channels, classes, 1)

    def forward(self, pictures: Any, *, points: bool, **prompts: Any) -> tuple[Any, Any]:
        """SAM's output, and cell logits [batch, classes, side / 8, side / 8]."""
        embeddings = self.sam.vision_encoder(normalised(pictures)).last_hidden_state
        return self.sam(image_embeddings=embeddings, multimask_output=points, **prompts), self.cells(embeddings)


class SamRecipe(Recipe[SamRecipeConfig]):
    """See the module."""

    name = "sam"
    metric = "iou_point"
    Config = SamRecipeConfig

    def build(self) -> Any:
        from transformers import SamConfig, SamModel

        side = self.config.size
        config = SamConfig(
            vision_config={
                "hidden_size": 128,
                "num_hidden_layers": 5,
                "num_attention_heads": 4,
                "mlp_dim": 384,
                "image_size": side,
                "patch_size": 8,
                "window_size": 10,
                "global_attn_indexes": [1, 4],
                "output_channels": 64,
                "num_pos_feats": 32,
                "use_rel_pos": False,
                "initializer_range": 0.02,
            },
            prompt_encoder_config={"hidden_size": 64, "image_size": side, "patch_size": 8},
            mask_decoder_config={
                "hidden_size": 64,
                "mlp_dim": 192,
                "num_attention_heads": 4,
                "iou_head_hidden_dim": 64,
                "iou_head_depth": 2,
            },
        )
        model = SamModel(config)
        # The library draws frequencies so high that places next to each other look unrelated.
        torch.nn.init.normal_(model.shared_image_embedding.positional_embedding, std=1.0)
        return SamWithCells(model, len(CLASSES))

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        with_boxes = bool(rng.random() < 0.4)
        extra_points = int(rng.integers(0, 3)) if rng.random() < 0.3 else 0
        pictures: list[Any] = []
        masks: list[Any] = []
        prompts: list[Any] = []
        labels: list[Any] = []
        classes: list[Any] = []
        while len(pictures) < self.config.batch_size:
            scene = self.data.train[int(rng.integers(0, len(self.data.train)))]
            view = varied_view(scene.image, scene.instances, self.config.size, rng)
            objects = visible(view.instances, len(scene.objects))
            if not objects:
                continue
            chosen = [view.instances == 1 + int(rng.choice(objects)) for _ in range(self.config.prompts)]
            pictures.append(view.image)
            masks.append(np.stack(chosen))
            classes.append(class_map(scene, view.instances))
            if with_boxes:
                prompts.append(np.stack([loose_box(mask, rng) for mask in chosen]))
            else:
                pairs = [points_on(mask, rng, extra_points) for mask in chosen]
                prompts.append(np.stack([points for points, _ in pairs]))
                labels.append(np.stack([signs for _, signs in pairs]))
        batch = {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "masks": torch.from_numpy(np.stack(masks)),
            "prompts": torch.from_numpy(np.stack(prompts).astype(np.float32)),
            "classes": torch.from_numpy(np.stack(classes).astype(np.int64)),
        }
        return batch if with_boxes else batch | {"labels": torch.from_numpy(np.stack(labels))}

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        output, cells = self._forward(model, batch)
        logits = output.pred_masks.float()
        wanted = torch.nn.functional.interpolate(batch["masks"].float(), logits.shape[-2:], mode="area")
        wanted = wanted[:, :, None].expand_as(logits)
        each = 20 * focal(logits, wanted) + dice(logits, wanted)
        overlap = soft_iou(logits, wanted)
        ranking = (output.iou_scores.float() - overlap).square().mean()
        best = each.min(-1).values.mean()
        # A little for the other masks: one that never wins would never learn.
        covering = cell_loss(cells, batch["classes"])
        loss = best + 0.1 * each.mean() + ranking + 0.5 * covering
        return {"loss": loss, "mask": best, "iou": overlap.max(-1).values.mean(), "ranking": ranking, "cells": covering}

    @staticmethod
    def _forward(model: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
        if "labels" not in batch:
            prompts = {"input_boxes": batch["prompts"]}
        else:
            prompts = {"input_points": batch["prompts"], "input_labels": batch["labels"]}
        return model(batch["pictures"], points="labels" in batch, **prompts)

    def evaluate(self, model: Any) -> dict[str, float]:
        return self._overlaps(model, self.data.dev, 96)

    def _overlaps(self, model: Any, cache: SceneCache, count: int) -> dict[str, float]:
        device = next(model.parameters()).device
        found: dict[str, list[float]] = {"iou_box": [], "iou_point": []}
        for index in range(min(count, len(cache))):
            scene = cache[index]
            view = plain_view(scene.image, scene.instances, self.config.size)
            masks = [view.instances == 1 + item for item in visible(view.instances, len(scene.objects))]
            if not masks:
                continue
            truth = torch.from_numpy(np.stack(masks)).to(device)
            pictures = torch.from_numpy(view.image[None]).to(device)
            boxes = torch.tensor(np.stack([tight_box(mask) for mask in masks])[None], dtype=torch.float32)
            points = torch.tensor(np.stack([[innermost(mask)] for mask in masks])[None], dtype=torch.float32)
            by_box, _ = self._forward(model, {"pictures": pictures, "prompts": boxes.to(device)})
            labels = torch.ones(points.shape[:-1], dtype=torch.long, device=device)
            by_point, _ = self._forward(model, {"pictures": pictures, "prompts": points.to(device), "labels": labels})
            best = by_point.iou_scores[0].argmax(-1)
            chosen = by_point.pred_masks[0][torch.arange(len(best)), best]
            for name, logits in (("iou_box", by_box.pred_masks[0, :, 0]), ("iou_point", chosen)):
                found[name] += _hard_iou(logits.float(), truth).tolist()
        return {name: float(np.mean(values)) for name, values in found.items()}

    def save(self, model: Any, folder: Path) -> None:
        from transformers import SamProcessor

        model.sam.save_pretrained(folder)
        SamProcessor(self._image_processor()).save_pretrained(folder)

    def _image_processor(self) -> Any:
        from transformers import SamImageProcessor

        side = self.config.size
        return SamImageProcessor(
            size={"longest_edge": side},
            mask_size={"longest_edge": side // 2},
            pad_size={"height": side, "width": side},
            mask_pad_size={"height": side // 2, "width": side // 2},
        )


def cell_loss(cells: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross entropy of cell logits [batch, classes, h, w] with what the middle of each cell shows."""
    stride = classes.shape[-1] // cells.shape[-1]
    middle = classes[:, stride // 2 :: stride, stride // 2 :: stride]
    return torch.nn.functional.cross_entropy(cells.float(), middle)


def visible(instances: NDArray[np.uint8], count: int) -> list[int]:
    """Objects that show enough of themselves to be asked for."""
    return [index for index in range(count) if (instances == index + 1).mean() > OBJECT_AREA_MIN]


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """xyxy in pixels."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def loose_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """The tight box as a hasty person or a detector gives it: each side off by up to a twelfth."""
    box = tight_box(mask)
    extent = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    return np.clip(box + rng.uniform(-1 / 12, 1 / 12, 4) * extent, 0, mask.shape[0])


def innermost(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The pixel furthest from the mask's edge, (x, y)."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return np.array([column + 0.5, row + 0.5], np.float32)


def points_on(
    mask: NDArray[np.bool_], rng: np.random.Generator, extra: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One point inside, and `extra` ones inside or outside: [1 + extra, 2] as (x, y), and labels [1 + extra]."""
    inside, outside = np.argwhere(mask)[:, ::-1], np.argwhere(~mask)[:, ::-1]
    first = innermost(mask) if rng.random() < 0.3 else inside[rng.integers(len(inside))] + 0.5
    points, labels = [first], [1]
    for _ in range(extra):
        positive = bool(rng.random() < 0.5) or not len(outside)
        pool = inside if positive else outside
        points.append(pool[rng.integers(len(pool))] + 0.5)
        labels.append(int(positive))
    return np.array(points, np.float32), np.array(labels, np.int64)


def _hard_iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """[objects] from logits [objects, h, w] and masks [objects, side, side]."""
    large = torch.nn.functional.interpolate(logits[None], truth.shape[-2:], mode="bilinear", align_corners=False)[0]
    found = large > 0
    return (found & truth).flatten(1).sum(1) / (found | truth).flatten(1).sum(1).clamp(min=1)


RECIPE = SamRecipe
