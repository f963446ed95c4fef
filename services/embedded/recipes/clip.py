"""CLIP (arXiv 2103.00020) at tiny size: pictures and captions in one space.

Captions that are true of another picture of the batch, too, do not count as wrong for it. Each picture has a caption
beside its own in which one thing is untrue. And every patch says what covers it, in the words for it: a small network
learns sprites so from far fewer pictures. The trunk teaches the patches, too.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from services.embedded.training.cover_loss import cover_loss
from services.embedded.training.diffusion.prompts import clip_tokenizer
from services.embedded.training.pictures import IMAGENET_MEAN, IMAGENET_STD, normalised, plain_view
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.seen import varied_scene
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.training.statements import contents, statement, true_of, untrue_statement
from services.embedded.training.teacher import TrunkTeacher, likeness_loss
from services.embedded.world.concepts import BACKGROUNDS, CONCEPT, NAMES
from services.embedded.world.language import PLACES, article, plain_caption

LONGEST = 48
"""Tokens of a caption, start and end included."""
TEMPERATURE_LOG_MAX = float(np.log(100.0))
TAUGHT = "taught"
"""The module that tells the trunk's features of a patch; it leaves with the training."""
PATCH_LIKENESS = 12.0
"""Cosines of patches and words times this are logits."""


class ClipRecipeConfig(RecipeConfig):
    steps: int = 20_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    ema: float = 0.998
    size: int = 160
    patch: int = 16
    width: int = 192
    layers: int = 6
    text_width: int = 192
    text_layers: int = 4
    dense_weight: float = 1.0
    teacher_weight: float = 2.0
    dev_scenes: int = 500


class ClipRecipe(Recipe[ClipRecipeConfig]):
    """See the module."""

    name = "clip"
    metric = "r1"
    needs = ("trunk",)
    Config = ClipRecipeConfig

    @cached_property
    def teacher(self) -> TrunkTeacher:
        return TrunkTeacher(self.checkpoints["trunk"], (self.config.patch,))

    @cached_property
    def tokenizer(self) -> Any:
        tokenizer = clip_tokenizer()
        tokenizer.model_max_length = LONGEST
        return tokenizer

    @cached_property
    def words(self) -> Any:
        """Token ids of the phrase for each of `CLASSES`, [classes, tokens]."""
        return self._ids(
            [PLACES[name][0] if name in BACKGROUNDS else article(CONCEPT[name].singular) for name in CLASSES]
        )

    def build(self) -> Any:
        from transformers import CLIPConfig, CLIPModel

        config = self.config
        model = CLIPModel(
            CLIPConfig(
                text_config={
                    "vocab_size": len(self.tokenizer),
                    "hidden_size": config.text_width,
                    "intermediate_size": 4 * config.text_width,
                    "num_hidden_layers": config.text_layers,
                    "num_attention_heads": config.text_width // 32,
                    "max_position_embeddings": LONGEST,
                    "hidden_act": "gelu",
                    "bos_token_id": self.tokenizer.bos_token_id,
                    "eos_token_id": self.tokenizer.eos_token_id,
                    "pad_token_id": self.tokenizer.pad_token_id,
                },
                vision_config={
                    "hidden_size": config.width,
                    "intermediate_size": 4 * config.width,
                    "num_hidden_layers": config.layers,
                    "num_attention_heads": config.width // 32,
                    "image_size": config.size,
                    "patch_size": config.patch,
                    "hidden_act": "gelu",
                },
                projection_dim=config.width,
            )
        )
        model.add_module(TAUGHT, torch.nn.Linear(config.width, self.teacher.channels[0]))
        return model

    def parameters(self, model: Any) -> Any:
        """Matrices decay; biases, norms, embeddings and the temperature do not."""
        decayed: list[Any] = []
        free: list[Any] = []
        for name, parameter in model.named_parameters():
            plain = parameter.ndim < 2 or "token_embedding" in name or "position_embedding" in name
            (free if plain else decayed).append(parameter)
        return [{"params": decayed}, {"params": free, "weight_decay": 0.0}]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        pictures, classes, has, true, untrue = [], [], [], [], []
        for index in rng.integers(0, len(self.data.train), self.config.batch_size):
            scene = self.data.train[int(index)]
            view, seen = varied_scene(scene, self.config.size, rng)
            pictures.append(view.image)
            classes.append(class_map(scene, view.instances))
            has.append(contents(seen))
            true.append(statement(seen, rng))
            untrue.append(untrue_statement(seen, rng))
        statements = [*true, *untrue]
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "classes": torch.from_numpy(np.stack(classes)),
            "input_ids": self._ids([one.text for one in statements]),
            "true": torch.from_numpy(true_of(statements, has)),
        }

    def _ids(self, texts: list[str]) -> Any:
        encoded = self.tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        return encoded.input_ids

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            model.logit_scale.clamp_(max=TEMPERATURE_LOG_MAX)
        seen, patches, features = self._pictures(model, batch["pictures"])
        said = self._texts(model, batch["input_ids"])
        words = self._texts(model, self.words.to(said.device))
        contrast = contrastive_loss(seen @ said.T * model.logit_scale.exp(), batch["true"])
        cells = cover_loss((PATCH_LIKENESS * patches @ words.T).float(), batch["classes"])
        teacher = likeness_loss([features], self.teacher(normalised(batch["pictures"])))
        loss = contrast + self.config.dense_weight * cells + self.config.teacher_weight * teacher
        return {"loss": loss, "contrast": contrast, "cells": cells, "teacher": teacher}

    def _pictures(self, model: Any, pictures: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit vectors of pictures [batch, dim] and of their patches [batch, side, side, dim]; patches' features."""
        tower = model.vision_model
        outputs = tower(pixel_values=normalised(pictures))
        seen = tower.post_layernorm(outputs.last_hidden_state[:, 1:])
        side = self.config.size // self.config.patch
        pooled = normalize(model.visual_projection(outputs.pooler_output).float(), dim=-1)
        patches = normalize(model.visual_projection(seen).float(), dim=-1)
        features = model.get_submodule(TAUGHT)(seen)
        return pooled, patches.unflatten(1, (side, side)), features.unflatten(1, (side, side))

    @staticmethod
    def _texts(model: Any, input_ids: Any) -> torch.Tensor:
        """Unit vectors [texts, dim]. What pads a text comes after its end, where a causal model does not look."""
        return normalize(model.get_text_features(input_ids=input_ids).pooler_output.float(), dim=-1)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Recall@1 both ways among the dev scenes, and how often the nearest background and concept are there."""
        device = next(model.parameters()).device
        count = min(self.config.dev_scenes, len(self.data.dev))
        scenes = [self.data.dev[index] for index in range(count)]
        views = [plain_view(scene.image, scene.instances, self.config.size).image for scene in scenes]
        seen = torch.cat(
            [
                self._pictures(model, torch.from_numpy(np.stack(views[start : start + 64])).to(device))[0]
                for start in range(0, count, 64)
            ]
        )
        captions = [plain_caption(scene) for scene in scenes]
        likeness = seen @ self._texts(model, self._ids(captions).to(device)).T
        names = (seen @ self._texts(model, self.words.to(device)).T).cpu()
        concepts, places = names[:, : len(NAMES)].argmax(1), names[:, len(NAMES) :].argmax(1)
        found_text = [captions[int(best)] == captions[index] for index, best in enumerate(likeness.argmax(1))]
        found_picture = [captions[int(best)] == captions[index] for index, best in enumerate(likeness.argmax(0))]
        present = [
            NAMES[int(best)] in {item.concept for item in scene.objects}
            for scene, best in zip(scenes, concepts, strict=True)
        ]
        placed = [BACKGROUNDS[int(best)] == scene.scene.background for scene, best in zip(scenes, places, strict=True)]
        return {
            "r1": float((np.mean(found_text) + np.mean(found_picture)) / 2),
            "r1_text": float(np.mean(found_text)),
            "r1_picture": float(np.mean(found_picture)),
            "scene": float(np.mean(placed)),
            "concept": float(np.mean(present)),
        }

    def save(self, model: Any, folder: Path) -> None:
        from transformers import CLIPImageProcessor, CLIPProcessor

        from services.embedded.facts import build_index

        state = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{TAUGHT}.")}
        model.save_pretrained(folder, state_dict=state)
        side = self.config.size
        processor = CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(IMAGENET_MEAN),
            image_std=list(IMAGENET_STD),
        )
        CLIPProcessor(processor, self.tokenizer).save_pretrained(folder)
        if find_spec("faiss"):  # a training machine may lack it; the facts are then indexed on another
            build_index(folder)


def contrastive_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE where statements that are true of a picture but not its own are left out.

    Args:
        logits: [n, m], m >= n: pictures by statements; statement i belongs to picture i, those from n on to none.
        true: [n, m], which statements are true of which pictures.
    """
    count = len(logits)
    own = torch.arange(count, device=logits.device)
    also = true.clone()
    also[own, own] = False
    logits = logits.float().masked_fill(also, float("-inf"))
    return (cross_entropy(logits, own) + cross_entropy(logits[:, :count].T, own)) / 2


RECIPE = ClipRecipe
