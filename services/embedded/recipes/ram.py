"""RAM (arXiv 2306.03514) at tiny size: which concepts and which background a picture shows.

Beside the asymmetric loss on tags, every cell of the trunk's maps says what covers it; a small Swin learns sprites so
from far fewer pictures. The last map says it by likeness to the label features, which thereby come to lie where the
picture's features do. In RAM, CLIP sees to that: its text features are the labels, and its picture features are taught.
Here the trunk teaches: the maps are to tell its features, too.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn.functional import normalize

from services.embedded.training.cover_loss import cover_loss
from services.embedded.training.pictures import normalised, plain_view, varied_view
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.training.tag_loss import asymmetric_loss, best_threshold, f1, macro_f1, shown_tags
from services.embedded.training.teacher import TrunkTeacher, likeness_loss
from services.embedded.training.trunk import STRIDES
from services.embedded.world.cache import SceneCache
from services.models.ram.checkpoint import save_pretrained
from services.models.ram.config import RamConfig, SwinConfig
from services.models.ram.model import Ram
from services.models.ram.vocabulary import Vocabulary

_LIKENESS = 12.0
"""Cosines of cells and labels times this are logits."""
_SHOWN, _WRAP = 8, 4


class RamRecipeConfig(RecipeConfig):
    steps: int = 6000
    batch_size: int = 48
    learning_rate: float = 1.5e-3
    ema: float = 0.998
    size: int = 160
    embed_dim: int = 32
    depths: tuple[int, ...] = (2, 2, 6, 2)
    window_size: int = 5
    label_dim: int = 128
    hidden_size: int = 192
    gamma_negative: float = 3.0
    dense_weight: float = 1.0
    teacher_weight: float = 2.0
    dev_scenes: int = 512


class DenseRam(torch.nn.Module):
    """RAM and, for training alone, what its maps say of each cell."""

    def __init__(self, config: RamConfig, taught: tuple[int, ...]) -> None:
        super().__init__()
        self.ram = Ram(config)
        torch.nn.init.constant_(self.ram.fc.bias, -2.0)
        # CLIP's features have length one; a head that starts from nothing learns several times faster from these.
        torch.nn.init.normal_(self.ram.label_embed)
        widths = [config.swin.embed_dim << stage for stage in range(1, len(config.swin.depths) - 1)]
        self.cells = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, config.num_tags)) for width in widths
        )
        widths.append(config.swin.embed_dim << len(config.swin.depths) - 1)
        self.taught = torch.nn.ModuleList(
            torch.nn.Linear(width, channels) for width, channels in zip(widths, taught, strict=True)
        )

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Tag logits [batch, tags]; of maps from stride 8 on cell logits [batch, side, side, tags], and features."""
        maps = self.ram.visual_encoder.maps(pictures)
        last = self.ram.visual_encoder.norm(maps[-1])
        features = [head(grid) for head, grid in zip(self.taught, [*maps[1:-1], last], strict=True)]
        dense = [cell(grid) for cell, grid in zip(self.cells, maps[1:-1], strict=True)]
        labels = normalize(self.ram.label_embed, dim=-1)
        dense.append(_LIKENESS * normalize(self.ram.image_proj(last), dim=-1) @ labels.T)
        return self.ram.logits(last.flatten(1, 2)), dense, features


class RamRecipe(Recipe[RamRecipeConfig]):
    """See the module."""

    name = "ram"
    metric = "F1"
    needs = ("trunk",)
    Config = RamRecipeConfig

    @cached_property
    def teacher(self) -> TrunkTeacher:
        return TrunkTeacher(self.checkpoints["trunk"], STRIDES[: len(self.config.depths) - 1])

    def build(self) -> DenseRam:
        config = self.config
        swin = SwinConfig(
            embed_dim=config.embed_dim,
            depths=config.depths,
            num_heads=tuple(1 << stage for stage in range(len(config.depths))),
            window_size=config.window_size,
            drop_path_rate=0.0,
        )
        model = RamConfig(
            image_size=config.size,
            swin=swin,
            num_tags=len(CLASSES),
            label_dim=config.label_dim,
            hidden_size=config.hidden_size,
            intermediate_size=2 * config.hidden_size,
            dropout=0.0,
        )
        return DenseRam(model, self.teacher.channels).to(memory_format=torch.channels_last)

    def parameters(self, model: Any) -> Any:
        """Matrices decay; biases, norms and the two tables that are looked things up in do not."""
        tables = ("label_embed", "relative_position_bias_table")
        decayed: list[Any] = []
        free: list[Any] = []
        for name, parameter in model.named_parameters():
            (free if parameter.ndim < 2 or name.endswith(tables) else decayed).append(parameter)
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        pictures, maps, tags = [], [], []
        for index in rng.integers(0, len(self.data.train), self.config.batch_size):
            scene = self.data.train[int(index)]
            view = varied_view(scene.image, scene.instances, self.config.size, rng)
            classes = class_map(scene, view.instances)
            pictures.append(view.image)
            maps.append(classes)
            tags.append(shown_tags(classes))
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "classes": torch.from_numpy(np.stack(maps)),
            "tags": torch.from_numpy(np.stack(tags)),
        }

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        pictures = normalised(batch["pictures"])
        logits, dense, features = model(pictures)
        tags = asymmetric_loss(logits.float(), batch["tags"], self.config.gamma_negative)
        cells = torch.stack([cover_loss(cell.float(), batch["classes"]) for cell in dense]).mean()
        teacher = likeness_loss(features, self.teacher(pictures))
        loss = tags + self.config.dense_weight * cells + self.config.teacher_weight * teacher
        return {"loss": loss, "tags": tags, "cells": cells, "teacher": teacher}

    def evaluate(self, model: Any) -> dict[str, float]:
        scores, wanted = self._scored(model, self.data.dev, self.config.dev_scenes)
        threshold = best_threshold(scores, wanted)
        found = scores > threshold
        return {"F1": f1(found, wanted), "F1_macro": macro_f1(found, wanted), "threshold": threshold}

    def _scored(self, model: Any, cache: SceneCache, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scores [scenes, tags] and which tags the scenes have."""
        device = next(model.parameters()).device
        scores: list[NDArray[np.float32]] = []
        wanted: list[NDArray[np.bool_]] = []
        for start in range(0, min(count, len(cache)), 64):
            scenes = [cache[index] for index in range(start, min(start + 64, count, len(cache)))]
            views = [plain_view(scene.image, scene.instances, self.config.size) for scene in scenes]
            pictures = torch.from_numpy(np.stack([view.image for view in views])).to(device)
            with torch.inference_mode():
                scores.append(model.ram(normalised(pictures)).float().sigmoid().cpu().numpy())
            wanted.extend(scene_tags(scene) for scene in scenes)
        return np.concatenate(scores), np.stack(wanted)

    def samples(self, model: Any) -> Image.Image:
        """Pictures with the tags found; `+` before one that is not there, `-` before one that is missed."""
        scores, wanted = self._scored(model, self.data.dev, _SHOWN)
        found = scores > best_threshold(scores, wanted)
        side = self.data.dev[0].image.shape[0]
        sheet = Image.new("RGB", (side * _WRAP, (side + 60) * -(-len(scores) // _WRAP)), "white")
        draw = ImageDraw.Draw(sheet)
        for index in range(len(scores)):
            left, top = side * (index % _WRAP), (side + 60) * (index // _WRAP)
            sheet.paste(Image.fromarray(self.data.dev[index].image), (left, top))
            words = [
                ("" if both else "+" if extra else "-") + CLASSES[tag]
                for tag, (both, extra) in enumerate(zip(found[index] & wanted[index], found[index], strict=True))
                if found[index, tag] or wanted[index, tag]
            ]
            lines = [", ".join(words[start : start + 3]) for start in range(0, len(words), 3)]
            draw.multiline_text((left + 3, top + side + 2), "\n".join(lines[:4]), fill="black")
        return sheet

    def save(self, model: Any, folder: Path) -> None:
        threshold = best_threshold(*self._scored(model.eval(), self.data.dev, self.config.dev_scenes))
        save_pretrained(model.ram, Vocabulary.of(CLASSES, [threshold] * len(CLASSES)), folder)


def scene_tags(scene: Any) -> NDArray[np.bool_]:
    """Which tags a scene has, [tags]."""
    present = {scene.scene.background, *(item.concept for item in scene.objects)}
    return np.array([name in present for name in CLASSES])


RECIPE = RamRecipe
