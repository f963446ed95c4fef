"""Grounding DINO (arXiv 2303.05499) at tiny size: phrases in, boxes out, from the trunk's ResNet.

One prompt is shared by a batch: some phrases that its pictures show, some that they do not. Objects
whose phrase is not asked for are background, as they are when the model is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from services.embedded.training.average_precision import mean_average_precision
from services.embedded.training.detection_loss import Targets, detection_loss, layer_predictions
from services.embedded.training.phrases import Prompt, Wording, bert_tokenizer
from services.embedded.training.pictures import boxes_of, normalised, plain_view, varied_view
from services.embedded.training.precision import run_in_bf16
from services.embedded.training.recipe import Recipe, RecipeConfig
from services.embedded.training.trunk import load_trunk, thaw_batch_norms, trunk_config, without_thawed
from services.embedded.world.cache import SceneCache
from services.embedded.world.concepts import NAMES

STAGES = ("stage3", "stage4")
"""Strides 16 and 32: with stride 8 a step costs three times as much."""


class GroundingDinoConfig(RecipeConfig):
    steps: int = 9000
    batch_size: int = 24
    learning_rate: float = 6e-4
    trunk_learning_rate: float = 3e-4
    weight_decay: float = 0.01
    clip_norm: float = 0.5
    bf16: bool = False  # the trunk alone computes in bfloat16: boxes need float32
    ema: float = 0.999
    size: int = 224
    phrases: int = 36


class GroundingDinoRecipe(Recipe[GroundingDinoConfig]):
    """See the module."""

    name = "grounding_dino"
    metric = "mAP50"
    needs = ("trunk",)
    Config = GroundingDinoConfig

    def build(self) -> Any:
        from transformers import BertConfig, GroundingDinoForObjectDetection
        from transformers import GroundingDinoConfig as ModelConfig

        self.tokenizer = bert_tokenizer()
        config = ModelConfig(
            backbone_config=trunk_config(STAGES),
            text_config=BertConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=256,
                max_position_embeddings=320,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            ),
            d_model=128,
            encoder_layers=2,
            decoder_layers=2,
            encoder_ffn_dim=256,
            decoder_ffn_dim=256,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            num_feature_levels=len(STAGES),
            num_queries=20,
            max_text_len=256,
            dropout=0.0,
            fusion_droppath=0.0,
            disable_custom_kernels=True,
            text_positions="library",  # see `services.models.grounding_dino.restore_text_positions`
        )
        model = GroundingDinoForObjectDetection(config)
        model.model.unfreeze_backbone()
        thaw_batch_norms(model.model.backbone)
        load_trunk(model.model.backbone.conv_encoder.model, self.checkpoints["trunk"])
        run_in_bf16(model.model.backbone.conv_encoder)
        _start_from_silence(model.model)
        return model.to(memory_format=torch.channels_last)

    def parameters(self, model: Any) -> Any:
        trunk = list(model.model.backbone.parameters())
        known = {id(parameter) for parameter in trunk}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
        return [{"params": rest}, {"params": trunk, "lr": self.config.trunk_learning_rate}]

    def batch(self, rng: np.random.Generator) -> dict[str, Any]:
        chosen = rng.integers(0, len(self.data.train), self.config.batch_size)
        wording = Wording.drawn(rng)
        views = []
        for index in chosen:
            scene = self.data.train[int(index)]
            view = varied_view(scene.image, scene.instances, self.config.size, rng)
            views.append((view, [wording.of_object(item) for item in scene.objects]))
        prompt = self._prompt(rng, wording, [phrase for _, phrases in views for phrase in phrases])
        boxes, labels = [], []
        for view, phrases in views:
            found = boxes_of(view.instances, len(phrases))
            kept = [i for i, phrase in enumerate(phrases) if phrase in prompt.phrases and found[i, 2] > 0]
            boxes.append(torch.from_numpy(_centred(found[kept])))
            labels.append(torch.tensor([prompt.phrases.index(phrases[i]) for i in kept], dtype=torch.long))
        return {
            "pictures": torch.from_numpy(np.stack([view.image for view, _ in views])),
            "input_ids": prompt.input_ids,
            "tokens_of_phrase": prompt.tokens_of_phrase,
            "boxes": boxes,
            "labels": labels,
        }

    def _prompt(self, rng: np.random.Generator, wording: Wording, present: list[str]) -> Prompt:
        count = int(rng.integers(1, self.config.phrases + 1)) if rng.random() < 0.3 else self.config.phrases
        shown = [str(phrase) for phrase in rng.permutation(sorted(set(present)))][: max(1, int(count * 0.85))]
        others = {wording.absent(rng) for _ in range(count - len(shown))} - set(present)
        return Prompt.of([str(phrase) for phrase in rng.permutation([*shown, *sorted(others)])], self._tokens)

    @property
    def _tokens(self) -> Any:
        if not hasattr(self, "tokenizer"):
            self.tokenizer = bert_tokenizer()
        return self.tokenizer

    def loss(self, model: Any, batch: dict[str, Any]) -> dict[str, Any]:
        targets = [Targets(*pair) for pair in zip(batch["boxes"], batch["labels"], strict=True)]
        output = self._forward(model, batch["pictures"], batch["input_ids"])
        predictions = layer_predictions(model, output, batch["input_ids"].shape[0])
        return detection_loss(predictions, targets, batch["tokens_of_phrase"])

    @staticmethod
    def _forward(model: Any, pictures: Any, input_ids: Any) -> Any:
        ids = input_ids[None].expand(len(pictures), -1)
        return model(
            pixel_values=normalised(pictures), input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True
        )

    def evaluate(self, model: Any) -> dict[str, float]:
        return {"mAP50": self._map50(model, self.data.dev, 192)}

    def _map50(self, model: Any, cache: SceneCache, count: int) -> float:
        """Every concept is asked of every picture, in as many prompts as it takes."""
        device = next(model.parameters()).device
        groups = [list(NAMES[start : start + 60]) for start in range(0, len(NAMES), 60)]
        found: list[tuple[int, int, float, Any]] = []
        wanted: list[tuple[int, int, Any]] = []
        for start in range(0, min(count, len(cache)), 32):
            scenes = [cache[index] for index in range(start, min(start + 32, count, len(cache)))]
            views = [plain_view(scene.image, scene.instances, self.config.size) for scene in scenes]
            pictures = torch.from_numpy(np.stack([view.image for view in views])).to(device)
            for offset, scene in enumerate(scenes):
                for item, box in zip(scene.objects, boxes_of(scene.instances, len(scene.objects)), strict=True):
                    wanted.append((start + offset, NAMES.index(item.concept), box))
            for group in groups:
                prompt = Prompt.of(group, self._tokens)
                output = self._forward(model, pictures, prompt.input_ids.to(device))
                scores = output.logits[..., : len(prompt.input_ids)].float().sigmoid()
                weights = prompt.tokens_of_phrase.to(device)
                of_phrase = (scores[..., None, :] * weights).amax(-1)
                best, label = of_phrase.max(-1)
                for offset in range(len(scenes)):
                    for score, index, box in zip(best[offset], label[offset], output.pred_boxes[offset], strict=True):
                        concept = NAMES.index(group[int(index)])
                        found.append((start + offset, concept, float(score), _cornered(box.float().cpu().numpy())))
        return mean_average_precision(found, wanted, iou=0.5)

    def save(self, model: Any, folder: Path) -> None:
        from transformers import GroundingDinoImageProcessor, GroundingDinoProcessor

        frozen = type(model)(model.config)
        frozen.load_state_dict(without_thawed(model.state_dict()))
        frozen.save_pretrained(folder)
        edge = {"shortest_edge": self.config.size, "longest_edge": 2 * self.config.size}
        GroundingDinoProcessor(GroundingDinoImageProcessor(size=edge), self._tokens).save_pretrained(folder)


def _start_from_silence(model: Any) -> None:
    """First logits near -5, as focal loss wants them: they are products of layer-normed vectors and have no bias.

    Left alone they are tens, of either sign, and the first hundreds of steps unlearn them.
    """
    text = model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    torch.nn.init.constant_(text.weight, 0.1)
    torch.nn.init.constant_(text.bias, 0.2)
    for picture in (model.enc_output_norm, model.decoder.layer_norm):
        torch.nn.init.constant_(picture.bias, -0.2)


def _centred(boxes: Any) -> Any:
    """Corners to centre form, [n, 4]."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float32)


def _cornered(box: Any) -> Any:
    return np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])


RECIPE = GroundingDinoRecipe
