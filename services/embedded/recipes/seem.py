"""SegGPT (arXiv 2304.03284) at tiny size: the mask of a concept in one picture in, its mask in another out.

Pairs of scenes share a concept. The upper picture comes with the concept's mask, white on black; the network paints the
lower one's. Three things make a small network learn this from few pictures. It starts from our BLIP-2's vision tower,
whose patches know what they show (SegGPT starts from a masked autoencoder). What it paints is scored as a probability
(the painted value is cut off at black and white, a hard sigmoid), since the paper's smooth L1 is content with black
where masks are small. And from the features of the tower's last layer, linear heads that are thrown away later name
the class of each cell of both pictures, and tell what the trunk sees there: what is the same must first look the same.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate

from services.embedded.training.mask_loss import dice
from services.embedded.training.pictures import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    OBJECT_AREA_MIN,
    View,
    normalised,
    plain_view,
    varied_view,
)
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.training.sheet import sheet
from services.embedded.training.teacher import TrunkTeacher, likeness_loss
from services.embedded.training.vision_transfer import seggpt_weights
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import NAMES
from services.embedded.world.render import Rendered

STEEPNESS = 4.0
"""A painted value v in 0..1 counts as the probability sigmoid(4 v - 2): there v itself is a hard sigmoid."""
CELLS = 2
"""Each patch is classified at CELLS x CELLS places."""
TAUGHT_STRIDE = 16
"""Pixels of a side of the trunk's cells, nearest to those of a patch."""


class SeemRecipeConfig(RecipeConfig):
    steps: int = 12000
    batch_size: int = 16
    learning_rate: float = 1e-3
    tower_learning_rate: float = 4e-4
    warmup: float = 0.03
    ema: float = 0.998
    size: int = 160
    patch: int = 16
    layers: int = 7  # the tower's, and one more to compare with
    semantic_layer: int = 5
    semantic_weight: float = 0.5
    teacher_weight: float = 2.0
    painter_width: int = 8  # SegGPT has 64; a patch's features are widened to this at each of its pixels
    same_scene: float = 0.1  # part of the pairs that are two views of one scene: the first thing to learn
    absent: float = 0.08  # part of the pairs whose second picture lacks the concept
    single: float = 0.25  # part of the examples that mark one of several
    dev_pairs: int = 256


class SemanticSegGpt(torch.nn.Module):
    """The network, the classifier of cells, and what tells the trunk's features of `taught` channels."""

    def __init__(self, network: Any, layer: int, taught: int) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.cells = torch.nn.Linear(network.config.hidden_size, CELLS * CELLS * len(CLASSES))
        self.taught = torch.nn.Linear(network.config.hidden_size, taught)

    def forward(self, pictures: torch.Tensor, examples: torch.Tensor, masks: torch.Tensor) -> tuple[Any, Any, Any]:
        """How strongly each pixel of `pictures` is painted, as logits [batch, 3, side, side]; cell logits
        [batch, rows, columns, classes] and a patch's features [batch, rows, columns, taught], the example's rows first.

        Args:
            pictures, examples: normalised, [batch, 3, side, side].
            masks: where the examples show the concept, [batch, side, side] in 0..1.
        """
        painted = normalised(masks[..., None].float().mul(255).expand(-1, -1, -1, 3))
        output = self.network(pictures, examples, painted, output_hidden_states=True)
        mean, deviation = (pictures.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        values = output.pred_masks[:, :, pictures.shape[2] :].float() * deviation + mean
        tokens = output.hidden_states[self.layer + 1]
        batch, rows, columns, _ = tokens.shape
        cells = self.cells(tokens).view(batch, rows, columns, CELLS, CELLS, -1)
        cells = cells.transpose(2, 3).reshape(batch, rows * CELLS, columns * CELLS, -1)
        return STEEPNESS * (values - 0.5), cells, self.taught(tokens)


class SeemRecipe(Recipe[SeemRecipeConfig]):
    """See the module."""

    name = "seem"
    metric = "mIoU"
    needs = ("trunk", "blip2")
    Config = SeemRecipeConfig

    @cached_property
    def teacher(self) -> TrunkTeacher:
        return TrunkTeacher(self.checkpoints["trunk"], (TAUGHT_STRIDE,))

    def build(self) -> SemanticSegGpt:
        from transformers import Blip2Config, SegGptConfig, SegGptForImageSegmentation

        tower = Blip2Config.from_pretrained(self.checkpoints["blip2"]).vision_config
        if tower.patch_size != self.config.patch:
            raise ValueError(f"seem starts from blip2's tower: set patch={tower.patch_size} as there.")
        config = SegGptConfig(
            hidden_size=tower.hidden_size,
            mlp_dim=tower.intermediate_size,
            num_hidden_layers=self.config.layers,
            num_attention_heads=tower.num_attention_heads,
            hidden_act=tower.hidden_act,
            layer_norm_eps=tower.layer_norm_eps,
            image_size=(2 * self.config.size, self.config.size),
            patch_size=self.config.patch,
            pretrain_image_size=2 * self.config.size,
            drop_path_rate=0.0,
            decoder_hidden_size=self.config.painter_width,
            merge_index=0,
            intermediate_hidden_state_indices=(1, self.config.layers - 1),
        )
        network = SegGptForImageSegmentation(config)
        weights = seggpt_weights(_vision_tower(self.checkpoints["blip2"]), self.config.size // self.config.patch)
        missing = network.model.load_state_dict(weights, strict=False)
        assert not missing.unexpected_keys, missing.unexpected_keys
        for layer in network.model.encoder.layers:
            torch.nn.init.zeros_(layer.attention.rel_pos_h)
            torch.nn.init.zeros_(layer.attention.rel_pos_w)
        return SemanticSegGpt(network, self.config.semantic_layer, self.teacher.channels[0])

    def parameters(self, model: Any) -> Any:
        """The tower learns more slowly than what is new."""
        tower = list(model.network.model.encoder.layers[: self.config.semantic_layer + 1].parameters())
        tower += model.network.model.embeddings.patch_embeddings.parameters()
        known = {id(parameter) for parameter in tower}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
        return [{"params": rest}, {"params": tower, "lr": self.config.tower_learning_rate}]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        pairs = [self._pair(rng) for _ in range(self.config.batch_size)]
        return {name: torch.from_numpy(np.stack([pair[name] for pair in pairs])) for name in pairs[0]}

    def _pair(self, rng: np.random.Generator) -> dict[str, Any]:
        cache, scenes_with = self.data.train, self._index("train")
        while True:
            concept = str(rng.choice(sorted(scenes_with)))
            first = int(rng.choice(scenes_with[concept]))
            kind = rng.random()
            if kind < self.config.same_scene:
                second = first
            elif kind < self.config.same_scene + self.config.absent:
                second = int(rng.integers(len(cache)))
            else:
                second = int(rng.choice(scenes_with[concept]))
            example, picture = cache[first], cache[second]
            example_view, view = (
                varied_view(scene.image, scene.instances, self.config.size, rng) for scene in (example, picture)
            )
            marked = self._marked(example, example_view, concept, rng)
            if marked.mean() > OBJECT_AREA_MIN:
                break
        return {
            "examples": example_view.image,
            "example_masks": marked,
            "pictures": view.image,
            "masks": mask_of(picture, view, concept),
            "classes": np.concatenate([class_map(example, example_view.instances), class_map(picture, view.instances)]),
        }

    def _marked(self, scene: Rendered, view: View, concept: str, rng: np.random.Generator) -> NDArray[np.bool_]:
        """The example's mask: all of the concept, or now and then one of several."""
        members = [index for index, item in enumerate(scene.objects) if item.concept == concept]
        if len(members) > 1 and rng.random() < self.config.single:
            one: NDArray[np.bool_] = view.instances == 1 + int(rng.choice(members))
            return one
        return mask_of(scene, view, concept)

    def _index(self, part: str) -> dict[str, NDArray[np.int64]]:
        """The scenes that show each concept; read once in each process."""
        if not hasattr(self, "_indices"):
            self._indices: dict[str, dict[str, NDArray[np.int64]]] = {}
        if part not in self._indices:
            self._indices[part] = scenes_by_concept(getattr(self.data, part))
        return self._indices[part]

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        pictures, examples = normalised(batch["pictures"]), normalised(batch["examples"])
        logits, cells, features = model(pictures, examples, batch["example_masks"])
        wanted = batch["masks"].float()
        step = self.config.patch // CELLS
        classes = batch["classes"][:, step // 2 :: step, step // 2 :: step].long()
        losses = {
            "paint": binary_cross_entropy_with_logits(logits, wanted[:, None].expand_as(logits)),
            "dice": 0.3 * dice(logits.mean(1), wanted).mean(),
            "cells": self.config.semantic_weight * cross_entropy(cells.float().flatten(0, 2), classes.flatten()),
            "teacher": self.config.teacher_weight * likeness_loss([features], [self._taught(examples, pictures)]),
        }
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _taught(self, examples: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """What the trunk sees in each patch, the examples' rows first, [batch, rows, columns, channels]."""
        side = self.config.size // self.config.patch
        grids = torch.cat([self.teacher(part)[0].permute(0, 3, 1, 2) for part in (examples, pictures)])
        patches = interpolate(grids, (side, side), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
        return torch.cat(patches.chunk(2), 1)

    def evaluate(self, model: Any) -> dict[str, float]:
        pairs = self._dev_pairs(self.config.dev_pairs)
        overlaps = []
        for start in range(0, len(pairs), 16):
            some = pairs[start : start + 16]
            for (concept, _, picture), found in zip(some, self._masks(model, some), strict=True):
                scene = self.data.dev[picture]
                truth = mask_of(scene, View(scene.image, scene.instances), concept)
                overlaps.append((found & truth).sum() / max((found | truth).sum(), 1))
        return {"mIoU": float(np.mean(overlaps)), "found": float(np.mean(np.array(overlaps) > 0.5))}

    def _dev_pairs(self, count: int) -> list[tuple[str, int, int]]:
        """(concept, scene with the example, scene to find it in): all concepts in turn."""
        rng = np.random.default_rng(0)
        scenes_with = {concept: scenes for concept, scenes in self._index("dev").items() if len(scenes) > 1}
        order = [concept for concept in NAMES if concept in scenes_with]
        pairs = []
        for number in range(count):
            concept = order[number % len(order)]
            example, picture = rng.choice(scenes_with[concept], 2, replace=False)
            pairs.append((concept, int(example), int(picture)))
        return pairs

    def _masks(self, model: Any, pairs: list[tuple[str, int, int]]) -> list[NDArray[np.bool_]]:
        """The masks found, at the scenes' size."""
        device = next(model.parameters()).device
        shown: dict[str, list[Any]] = {"pictures": [], "examples": [], "masks": []}
        for concept, example, picture in pairs:
            for name, index in (("examples", example), ("pictures", picture)):
                scene = self.data.dev[index]
                view = plain_view(scene.image, scene.instances, self.config.size)
                shown[name].append(view.image)
                if name == "examples":
                    shown["masks"].append(mask_of(scene, view, concept))
        tensors = {name: torch.from_numpy(np.stack(arrays)).to(device) for name, arrays in shown.items()}
        logits, *_ = model(normalised(tensors["pictures"]), normalised(tensors["examples"]), tensors["masks"])
        values = (logits / STEEPNESS + 0.5).clamp(0, 1).mean(1, keepdim=True)
        size = self.data.dev.instances.shape[1:]
        return list((interpolate(values, size, mode="bilinear")[:, 0] > 0.5).cpu().numpy())

    def samples(self, model: Any) -> Image.Image:
        """Examples with their masks, pictures, and pictures with the masks found."""
        pairs = self._dev_pairs(self.config.dev_pairs)[:: self.config.dev_pairs // 8]
        rows = []
        for (concept, first, second), found in zip(pairs, self._masks(model, pairs), strict=True):
            example, picture = self.data.dev[first], self.data.dev[second]
            marked = mask_of(example, View(example.image, example.instances), concept)
            rows.append([_lit(example.image, marked), picture.image, _lit(picture.image, found)])
        return sheet(rows)

    def save(self, model: Any, folder: Path) -> None:
        from transformers import SegGptImageProcessor

        model.network.save_pretrained(folder)
        SegGptImageProcessor(size={"height": self.config.size, "width": self.config.size}).save_pretrained(folder)


def _vision_tower(folder: Path) -> dict[str, torch.Tensor]:
    """State dict of a BLIP-2 checkpoint's `Blip2VisionModel`."""
    prefix = "vision_model."
    tensors = load_file(folder / "model.safetensors")
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def scenes_by_concept(cache: SceneCache) -> dict[str, NDArray[np.int64]]:
    """Indices of the scenes that show each concept."""
    found: dict[str, list[int]] = {}
    for index in range(len(cache)):
        for concept in {item.concept for item in cache[index].objects}:
            found.setdefault(concept, []).append(index)
    return {concept: np.array(scenes) for concept, scenes in found.items()}


def mask_of(scene: Rendered, view: View, concept: str) -> NDArray[np.bool_]:
    """Where a view of a scene shows a concept."""
    return np.isin(view.instances, [1 + index for index, item in enumerate(scene.objects) if item.concept == concept])


def _lit(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture, dark outside the mask."""
    return np.where(mask[..., None], image, image // 4)


RECIPE = SeemRecipe
