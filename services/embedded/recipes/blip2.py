"""BLIP-2 (arXiv 2301.12597) at tiny size: captions and answers, learnt together, on the vision tower of our CLIP.

There is no language model to build on: the small OPT learns its few words along with the Q-Former. Sentences alone are
slow to teach what is in a picture. So linear heads that are thrown away afterwards name the tags of the picture from
the Q-Former's queries (in the paper the losses of its first stage, contrast and matching, do that), and from the vision
tower's patches what covers each, and what the trunk sees there: the tower goes on learning as it did in CLIP.

It sees larger pictures than our CLIP does: at 160 pixels most things of the world are two patches wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from services.embedded.training.cover_loss import cover_loss
from services.embedded.training.opt_tokens import END, IMAGE, PAD, opt_tokenizer
from services.embedded.training.pictures import IMAGENET_MEAN, IMAGENET_STD, normalised, plain_view
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.seen import varied_scene
from services.embedded.training.segments import CLASSES, class_map
from services.embedded.training.tag_loss import asymmetric_loss, shown_tags
from services.embedded.training.teacher import TrunkTeacher, likeness_loss
from services.embedded.training.vision_transfer import blip2_vision_weights, spread_places
from services.embedded.training.warm_start import WarmStartError
from services.embedded.world.language import named_concepts, named_scene, plain_caption
from services.embedded.world.questions import questions
from services.embedded.world.render import Rendered
from services.skills.blip2 import first_line, question

IGNORED = -100
POSITIONS = 512
PICTURES_TO_FOLD = 64
PLACES = "embeddings.position_embedding"
PATCH = 16
"""Pixels of a patch's side in our CLIP, and of the trunk's cells that teach it."""
CAPTION_TOKENS, ANSWER_TOKENS = 64, 24


class Blip2RecipeConfig(RecipeConfig):
    steps: int = 12_000
    batch_size: int = 48
    size: int = Field(224, gt=0, multiple_of=PATCH)
    """Side of the pictures, pixels; CLIP's places are spread over it."""
    learning_rate: float = 8e-4
    vision_rate: float = 0.6
    """The vision tower's learning rate, as a part of `learning_rate`."""
    ema: float = 0.998
    questions: int = 3
    """Asked about each picture, beside its caption."""
    queries: int = 24
    width: int = 192
    q_former_layers: int = 4
    text_layers: int = 4
    tag_weight: float = 0.25
    dense_weight: float = 0.5
    teacher_weight: float = 1.0
    gamma_negative: float = 3.0
    dev_scenes: int = 256


class TaughtBlip2(torch.nn.Module):
    """BLIP-2 and, for training alone, what its queries and its patches say of the picture."""

    def __init__(self, blip2: Any, taught: int) -> None:
        super().__init__()
        self.blip2 = blip2
        self.tags = torch.nn.Linear(blip2.config.text_config.hidden_size, len(CLASSES))
        torch.nn.init.constant_(self.tags.bias, -5.0)
        width = blip2.config.vision_config.hidden_size
        self.cells = torch.nn.Linear(width, len(CLASSES))
        self.taught = torch.nn.Linear(width, taught)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the language model sees of each picture, [batch, queries, width]; tag logits [batch, tags], each the
        soft maximum over queries; of each patch class logits [batch, side, side, tags] and features."""
        outputs = self.blip2.get_image_features(pictures)
        seen, patches = outputs.pooler_output, outputs.last_hidden_state[:, 1:]
        side = int(patches.shape[1] ** 0.5)
        grid = patches.unflatten(1, (side, side))
        return seen, self.tags(seen).float().logsumexp(1), self.cells(grid).float(), self.taught(grid)


class Blip2Recipe(Recipe[Blip2RecipeConfig]):
    """See the module."""

    name = "blip2"
    metric = "objects_f1"
    needs = ("clip", "trunk")
    Config = Blip2RecipeConfig

    @cached_property
    def tokenizer(self) -> Any:
        return opt_tokenizer()

    @cached_property
    def teacher(self) -> TrunkTeacher:
        return TrunkTeacher(self.checkpoints["trunk"], (PATCH,))

    def build(self) -> TaughtBlip2:
        from transformers import Blip2Config, Blip2ForConditionalGeneration, CLIPModel

        clip = CLIPModel.from_pretrained(self.checkpoints["clip"]).float().vision_model
        width, heads = self.config.width, self.config.width // 32
        tokenizer = self.tokenizer
        blip2 = Blip2ForConditionalGeneration(
            Blip2Config(
                vision_config={
                    "hidden_size": clip.config.hidden_size,
                    "intermediate_size": clip.config.intermediate_size,
                    "num_hidden_layers": clip.config.num_hidden_layers,
                    "num_attention_heads": clip.config.num_attention_heads,
                    "image_size": self.config.size,
                    "patch_size": clip.config.patch_size,
                    "hidden_act": clip.config.hidden_act,
                    "layer_norm_eps": clip.config.layer_norm_eps,
                },
                qformer_config={
                    "hidden_size": width,
                    "intermediate_size": 2 * width,
                    "num_hidden_layers": self.config.q_former_layers,
                    "num_attention_heads": heads,
                    "hidden_dropout_prob": 0.0,
                    "attention_probs_dropout_prob": 0.0,
                },
                text_config={
                    "model_type": "opt",
                    "vocab_size": len(tokenizer),
                    "hidden_size": width,
                    "word_embed_proj_dim": width,
                    "ffn_dim": 4 * width,
                    "num_hidden_layers": self.config.text_layers,
                    "num_attention_heads": heads,
                    "max_position_embeddings": POSITIONS,
                    "dropout": 0.0,
                    "pad_token_id": tokenizer.convert_tokens_to_ids(PAD),
                    "bos_token_id": tokenizer.convert_tokens_to_ids(END),
                    "eos_token_id": tokenizer.convert_tokens_to_ids(END),
                },
                num_query_tokens=self.config.queries,
                image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
            )
        )
        # Queries that start alike stay alike.
        torch.nn.init.normal_(blip2.query_tokens, std=0.5)
        weights = blip2_vision_weights(clip, self._to_fold(clip.config.image_size))
        weights[PLACES] = spread_places(weights[PLACES], self.config.size // PATCH)
        blip2.vision_model.load_state_dict(weights)
        return TaughtBlip2(blip2, self.teacher.channels[0])

    def _to_fold(self, side: int) -> Any:
        count = min(PICTURES_TO_FOLD, len(self.data.train))
        scenes = [self.data.train[index] for index in range(count)]
        return normalised(torch.from_numpy(_plain(scenes, side)))

    def restore(self, model: TaughtBlip2, folder: Path) -> None:
        """See `Recipe`; the checkpoint may be of pictures of another size."""
        from transformers import Blip2ForConditionalGeneration

        weights = Blip2ForConditionalGeneration.from_pretrained(folder).float().state_dict()
        places = f"vision_model.{PLACES}"
        weights[places] = spread_places(weights[places], self.config.size // PATCH)
        try:
            model.blip2.load_state_dict(weights)
        except RuntimeError as error:
            raise WarmStartError(f"{folder} does not fit the recipe's network: {error}") from error

    def parameters(self, model: Any) -> Any:
        groups: dict[tuple[bool, bool], list[Any]] = {}
        for name, parameter in model.named_parameters():
            free = parameter.ndim < 2 or "embed" in name or name == "blip2.query_tokens"
            groups.setdefault((name.startswith("blip2.vision_model."), free), []).append(parameter)
        rate = self.config.learning_rate
        return [
            {
                "params": parameters,
                "lr": rate * (self.config.vision_rate if vision else 1.0),
                "weight_decay": 0.0 if free else self.config.weight_decay,
            }
            for (vision, free), parameters in groups.items()
        ]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        pictures, classes = [], []
        texts: list[tuple[str, str]] = []
        for index in rng.integers(0, len(self.data.train), self.config.batch_size):
            scene = self.data.train[int(index)]
            view, seen = varied_scene(scene, self.config.size, rng)
            pictures.append(view.image)
            classes.append(class_map(scene, view.instances))
            texts.extend(self._texts(seen, rng))
        ids, labels = self._tokens(texts)
        return {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "tags": torch.from_numpy(np.stack([shown_tags(one) for one in classes])),
            "classes": torch.from_numpy(np.stack(classes)),
            "input_ids": ids,
            "labels": labels,
        }

    def _texts(self, seen: Rendered, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
        """A caption, then `config.questions` questions: what is given and what is to be said."""
        yield "", plain_caption(seen)
        asked = questions(seen, rng)
        for index in rng.choice(len(asked), self.config.questions, replace=len(asked) < self.config.questions):
            yield question(asked[int(index)].question), asked[int(index)].answer

    def _tokens(self, texts: Sequence[tuple[str, str]]) -> tuple[Any, Any]:
        """Token ids and labels [texts, longest], padded on the right; what is given is no label."""
        tokenizer = self.tokenizer
        given = [tokenizer(text)["input_ids"] for text, _ in texts]
        said = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for _, text in texts]
        longest = max(len(a) + len(b) for a, b in zip(given, said, strict=True))
        ids = np.full((len(texts), longest), tokenizer.pad_token_id)
        labels = np.full((len(texts), longest), IGNORED)
        for row, (before, after) in enumerate(zip(given, said, strict=True)):
            ids[row, : len(before) + len(after)] = [*before, *after]
            labels[row, len(before) : len(before) + len(after)] = after
        return torch.from_numpy(ids), torch.from_numpy(labels)

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Each picture goes through the vision tower once for all that is said of it."""
        blip2 = model.blip2
        pictures = normalised(batch["pictures"])
        seen, named, covered, features = model(pictures)
        ids, labels = batch["input_ids"], batch["labels"]
        each = len(ids) // len(seen)
        words = blip2.get_input_embeddings()(ids)
        inputs = torch.cat([seen.repeat_interleave(each, 0).to(words.dtype), words], dim=1)
        mask = torch.cat([ids.new_ones(len(ids), seen.shape[1]), (ids != self.tokenizer.pad_token_id).long()], dim=1)
        hidden = blip2.language_model.model(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        # The token before each word says it; most positions say nothing and need no logits.
        hidden = hidden[:, seen.shape[1] : -1]
        wanted = labels[:, 1:]
        logits = blip2.language_model.lm_head(hidden[wanted != IGNORED]).float()
        losses = torch.nn.functional.cross_entropy(logits, wanted[wanted != IGNORED], reduction="none")
        row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(wanted)[wanted != IGNORED]
        is_caption = row % each == 0
        caption, answer = losses[is_caption].mean(), losses[~is_caption].mean()
        losses = {
            "caption": caption,
            "answer": answer,
            "tags": self.config.tag_weight * asymmetric_loss(named, batch["tags"], self.config.gamma_negative),
            "cells": self.config.dense_weight * cover_loss(covered, batch["classes"]),
            "teacher": self.config.teacher_weight * likeness_loss([features], self.teacher(pictures)),
        }
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def evaluate(self, model: Any) -> dict[str, float]:
        """Concepts named in captions (F1), background and caption right, and answers right."""
        count = min(self.config.dev_scenes, len(self.data.dev))
        scenes = [self.data.dev[index] for index in range(count)]
        captions = self.written(model, scenes, [""] * count, CAPTION_TOKENS)
        hits = named = present = 0
        for text, scene in zip(captions, scenes, strict=True):
            found, wanted = named_concepts(text), {item.concept for item in scene.objects}
            hits, named, present = hits + len(found & wanted), named + len(found), present + len(wanted)
        rng = np.random.default_rng(0)
        asked = [every[int(rng.integers(len(every)))] for every in (questions(scene, rng) for scene in scenes)]
        answers = self.written(model, scenes, [question(one.question) for one in asked], ANSWER_TOKENS)
        return {
            "objects_f1": 2 * hits / max(named + present, 1),
            "scene": _share([named_scene(t) == s.scene.background for t, s in zip(captions, scenes, strict=True)]),
            "caption": _share([text == plain_caption(scene) for text, scene in zip(captions, scenes, strict=True)]),
            "answers": _share([text == one.answer for text, one in zip(answers, asked, strict=True)]),
        }

    def written(self, model: Any, scenes: Sequence[Rendered], prompts: Sequence[str], longest: int) -> list[str]:
        """What the model says of each scene, greedily."""
        device = next(model.parameters()).device
        image = [self.tokenizer.convert_tokens_to_ids(IMAGE)] * self.config.queries
        found: list[str] = []
        for start in range(0, len(scenes), 64):
            part = slice(start, start + 64)
            given = self.tokenizer(list(prompts[part]), padding=True, padding_side="left", return_tensors="pt")
            before = torch.tensor(image).expand(len(given.input_ids), -1)
            ids = torch.cat([before, given.input_ids], dim=1)
            mask = torch.cat([torch.ones_like(before), given.attention_mask], dim=1)
            said = model.blip2.generate(
                pixel_values=normalised(torch.from_numpy(_plain(scenes[part], self.config.size)).to(device)),
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                max_new_tokens=longest,
                do_sample=False,
            )[:, ids.shape[1] :]
            found += [first_line(text) for text in self.tokenizer.batch_decode(said, skip_special_tokens=True)]
        return found

    def save(self, model: Any, folder: Path) -> None:
        from transformers import Blip2Processor, BlipImageProcessor

        model.blip2.save_pretrained(folder)
        processor = BlipImageProcessor(
            size={"height": self.config.size, "width": self.config.size},
            image_mean=list(IMAGENET_MEAN),
            image_std=list(IMAGENET_STD),
        )
        Blip2Processor(processor, self.tokenizer, num_query_tokens=self.config.queries).save_pretrained(folder)


def _plain(scenes: Sequence[Rendered], side: int) -> Any:
    """uint8 [scenes, side, side, 3]."""
    return np.stack([plain_view(scene.image, scene.instances, side).image for scene in scenes])


def _share(right: Sequence[bool]) -> float:
    return float(np.mean(right))


RECIPE = Blip2Recipe
