"""Multi-granularity masks (Semantic-SAM, arXiv 2307.04767) with SAM's three masks a point: part, object, group.

Starts from `sam`. Where the object stands alone its group is the object itself. Most pictures are closer looks, as the
skill takes them: parts are too small to be seen in the whole scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from services.embedded.recipes.sam import SamRecipe, SamRecipeConfig, SamWithCells, innermost, loose_box, visible
from services.embedded.training.mask_loss import dice, focal, soft_iou
from services.embedded.training.pictures import View, varied_region, varied_view
from services.embedded.training.segments import CLASSES
from services.embedded.world.render import Rendered
from services.models.regions import around
from services.models.sam import Prompt, Segmenter

Groups = Sequence[int | None]
"""The group of each object, if it has one."""
LEVELS = ("part", "object", "group")
PART_PIXELS_MIN = 24


class SemanticSamRecipeConfig(SamRecipeConfig):
    steps: int = 4000
    learning_rate: float = 5e-4
    near: float = 0.6
    """Part of the pictures that are closer looks, as the skill takes a second one around each mask."""
    factors: tuple[float, float] = (1.5, 3.5)
    """Sides of these looks, from and to, as multiples of the mask's longer side."""
    closer: float = 2.5
    """The skill's option of that name, for the figures."""
    dev_scenes: int = 96


class SemanticSamRecipe(SamRecipe):
    """See the module."""

    name = "semantic_sam"
    metric = "iou_levels"
    needs = ("sam",)
    Config = SemanticSamRecipeConfig
    config: SemanticSamRecipeConfig

    def build(self) -> Any:
        from transformers import SamModel

        sam = SamModel.from_pretrained(self.checkpoints["sam"], dtype=torch.float32)
        return SamWithCells(sam, len(CLASSES))

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        pictures: list[Any] = []
        masks: list[Any] = []
        prompts: list[Any] = []
        while len(pictures) < self.config.batch_size:
            scene = self.data.train[int(rng.integers(0, len(self.data.train)))]
            groups = [item.group for item in scene.objects]
            view = self._view(scene, groups, rng)
            objects = visible(view.instances[..., 0], len(groups))
            if not objects:
                continue
            asked = [
                levels_at(view.instances, groups, _drawn(objects, groups, rng), rng) for _ in range(self.config.prompts)
            ]
            pictures.append(view.image)
            prompts.append(np.stack([point for point, _ in asked])[:, None])
            masks.append(np.stack([levels for _, levels in asked]))
        points = torch.from_numpy(np.stack(prompts).astype(np.float32))
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "masks": torch.from_numpy(np.stack(masks)),
            "prompts": points,
            "labels": torch.ones(points.shape[:-1], dtype=torch.long),
        }

    def _view(self, scene: Rendered, groups: Groups, rng: np.random.Generator) -> View:
        """The scene, or as often as `near` says a closer look at something in it; its map holds instances and parts."""
        maps = np.dstack([scene.instances, scene.parts])
        objects = visible(scene.instances, len(groups))
        if not objects or rng.random() >= self.config.near:
            return varied_view(scene.image, maps, self.config.size, rng)
        _, levels = levels_at(maps, groups, _drawn(objects, groups, rng), rng)
        # The first look errs, so that the second one is not always around the mask itself.
        height, width = scene.instances.shape
        box = loose_box(levels[int(rng.integers(len(LEVELS)))], rng) / np.array([width, height, width, height])
        x0, y0, x1, y1 = (float(edge) for edge in box)
        region = around((x0, y0, x1, y1), (width, height), float(rng.uniform(*self.config.factors)))
        return varied_region(scene.image, maps, region, self.config.size, rng)

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        output, _ = self._forward(model, batch)
        logits = output.pred_masks.float()
        flat = batch["masks"].float().flatten(1, 2)
        wanted = torch.nn.functional.interpolate(flat, logits.shape[-2:], mode="area").view_as(logits)
        each = (20 * focal(logits, wanted) + dice(logits, wanted)).mean((0, 1))
        overlap = soft_iou(logits, wanted)
        ranking = (output.iou_scores.float() - overlap).square().mean()
        named = {f"iou_{level}": overlap[..., index].mean() for index, level in enumerate(LEVELS)}
        return {"loss": each.sum() + ranking, **named, "ranking": ranking}

    def evaluate(self, model: Any) -> dict[str, float]:
        """For each level's true mask the best overlap among the three that the skill gives for a point in it, looking
        twice as it does in the embedded profile."""
        device = str(next(model.parameters()).device)
        segmenter = Segmenter(model.sam, self._image_processor(), device, self.config.closer)
        found: dict[str, list[float]] = {level: [] for level in LEVELS}
        rng = np.random.default_rng(0)
        for index in range(min(self.config.dev_scenes, len(self.data.dev))):
            scene = self.data.dev[index]
            maps = np.dstack([scene.instances, scene.parts])
            groups = [item.group for item in scene.objects]
            size = scene.image.shape[0]
            asked = [levels_at(maps, groups, item, rng) for item in visible(scene.instances, len(groups))]
            prompts = [
                Prompt(0, points=((float(point[0]) / size, float(point[1]) / size),), labels=(1,)) for point, _ in asked
            ]
            given = segmenter.segments([Image.fromarray(scene.image)], prompts, candidates=True)
            for (_, wanted), segments in zip(asked, given, strict=True):
                masks = np.stack([item.mask.to_array() for item in segments])
                for level, mask in zip(LEVELS, wanted, strict=True):
                    found[level].append(_best_overlap(masks, mask))
        figures = {f"iou_{level}": float(np.mean(values)) for level, values in found.items()}
        return {"iou_levels": float(np.mean(list(figures.values()))), **figures}


def _best_overlap(masks: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """The highest IoU of masks [n, height, width] with the one wanted."""
    both = (masks & wanted).sum((1, 2))
    either = (masks | wanted).sum((1, 2))
    return float((both / np.maximum(either, 1)).max())


def _drawn(objects: list[int], groups: Groups, rng: np.random.Generator) -> int:
    """One of the objects to ask for: a group is rarer than an object alone, and harder."""
    grouped = [index for index in objects if groups[index] is not None]
    return int(rng.choice(grouped if grouped and rng.random() < 0.5 else objects))


def levels_at(maps: Any, groups: Groups, item: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """A point (x, y) on object `item`, and the masks of the part, the object and the group there, [3, side, side].

    Args:
        maps: instances and parts, [side, side, 2].
        groups: each object's group.
    """
    instances, parts = maps[..., 0], maps[..., 1]
    whole = instances == item + 1
    sizes = np.bincount(parts[whole])
    large = 1 + np.flatnonzero(sizes[1:] >= PART_PIXELS_MIN)
    part = whole & (parts == rng.choice(large)) if len(large) else whole
    members = [1 + index for index, group in enumerate(groups) if group is not None and group == groups[item]]
    group = np.isin(instances, members) if members else whole
    return _point_in(part, rng), np.stack([part, whole, group])


def _point_in(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Most often the point furthest from the mask's edge, where people click; at times any (x, y)."""
    if rng.random() < 0.7:
        return innermost(mask)
    row, column = rng.choice(np.argwhere(mask))
    return np.array([column + 0.5, row + 0.5], np.float32)


RECIPE = SemanticSamRecipe
