"""Multi-granularity masks (Semantic-SAM, arXiv 2307.04767) with SAM's three masks a point: part, object, group.

Starts from `sam`. Where the object stands alone its group is the object itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from services.embedded.recipes.sam import SamRecipe, SamRecipeConfig, SamWithCells, innermost, visible
from services.embedded.training.mask_loss import dice, focal, soft_iou
from services.embedded.training.pictures import plain_view, varied_view
from services.embedded.training.segments import CLASSES
from services.embedded.world.cache import SceneCache

LEVELS = ("part", "object", "group")
PART_PIXELS_MIN = 24


class SemanticSamRecipeConfig(SamRecipeConfig):
    steps: int = 4000
    learning_rate: float = 5e-4


class SemanticSamRecipe(SamRecipe):
    """See the module."""

    name = "semantic_sam"
    metric = "iou_levels"
    needs = ("sam",)
    Config = SemanticSamRecipeConfig

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
            maps = np.dstack([scene.instances, scene.parts])
            view = varied_view(scene.image, maps, self.config.size, rng)
            objects = visible(view.instances[..., 0], len(scene.objects))
            if not objects:
                continue
            groups = [item.group for item in scene.objects]
            # A group is rarer than an object alone, and harder.
            grouped = [index for index in objects if groups[index] is not None]
            pool = grouped if grouped and rng.random() < 0.5 else objects
            asked = [levels_at(view.instances, groups, int(rng.choice(pool)), rng) for _ in range(self.config.prompts)]
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
        return self._levels(model, self.data.dev, 96)

    def _levels(self, model: Any, cache: SceneCache, count: int) -> dict[str, float]:
        """For each level's true mask the best overlap among the three that a point in it gives."""
        device = next(model.parameters()).device
        rng = np.random.default_rng(0)
        found: dict[str, list[float]] = {level: [] for level in LEVELS}
        for index in range(min(count, len(cache))):
            scene = cache[index]
            view = plain_view(scene.image, np.dstack([scene.instances, scene.parts]), self.config.size)
            objects = visible(view.instances[..., 0], len(scene.objects))
            if not objects:
                continue
            groups = [item.group for item in scene.objects]
            asked = [levels_at(view.instances, groups, item, rng) for item in objects]
            points = torch.from_numpy(np.stack([point for point, _ in asked])[None, :, None].astype(np.float32))
            batch = {
                "pictures": torch.from_numpy(view.image[None]).to(device),
                "prompts": points.to(device),
                "labels": torch.ones(points.shape[:-1], dtype=torch.long, device=device),
            }
            logits = self._forward(model, batch)[0].pred_masks[0].float()
            side = view.image.shape[0]
            masks = torch.nn.functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False) > 0
            truth = torch.from_numpy(np.stack([levels for _, levels in asked])).to(device)
            both = (masks[:, :, None] & truth[:, None]).flatten(3).sum(-1)
            either = (masks[:, :, None] | truth[:, None]).flatten(3).sum(-1)
            best = (both / either.clamp(min=1)).amax(1)
            for place, level in enumerate(LEVELS):
                found[level] += best[:, place].tolist()
        figures = {f"iou_{level}": float(np.mean(values)) for level, values in found.items()}
        return {"iou_levels": float(np.mean(list(figures.values()))), **figures}


def levels_at(maps: Any, groups: list[int | None], item: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """A point (x, y) on object `item`, and the masks of the part, the object and the group there, [3, side, side].

    Args:
        maps: instances and parts, [side, side, 2].
        groups: each object's group.
    """
    instances, parts = maps[..., 0], maps[..., 1]
    whole = instances == item + 1
    own = np.where(whole, parts, 0)
    sizes = {int(part): int((own == part).sum()) for part in np.unique(own) if part}
    large = [part for part, size in sizes.items() if size >= PART_PIXELS_MIN]
    part = own == int(rng.choice(large)) if large else whole
    members = [1 + index for index, group in enumerate(groups) if group is not None and group == groups[item]]
    group = np.isin(instances, members) if members else whole
    return innermost(part), np.stack([part, whole, group])


RECIPE = SemanticSamRecipe
