"""What the embedded planner sees: how much surer it is of a scene's caption with the scene before it.

For a planner that sees nothing the two losses are equal; how far they are apart is what tower and projector show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from planner.model import load_model, processor
from planner.train.dataset import IGNORED
from planner.train.encode import Encoder
from planner.train.forms import form_named
from planner.vision import read_vision

Scene = tuple[Image.Image, str]
"""A picture and its caption."""


@dataclass(frozen=True)
class CaptionLosses:
    """Mean negative log likelihood of a caption's tokens, nats.

    Attributes:
        own: with the picture that the caption is of.
        other: with the next scene's picture.
    """

    own: float
    other: float


def caption_losses(weights: Path, scenes: Sequence[Scene]) -> CaptionLosses:
    """Score captions in the form of stage 1: a picture and its text, nothing else.

    Args:
        weights: folder of the planner's adapter and vision parts.
        scenes: at least two, on which nothing was trained.
    """
    import torch

    if len(scenes) < 2:
        raise ValueError("Another picture is needed for each caption: give two scenes or more.")
    model, made = load_model(weights), processor(weights)
    encoder = Encoder(made.tokenizer, form_named("caption"), (), read_vision(weights).tokens)
    pixels = [made.image_processor(images=picture, return_tensors="pt")["pixel_values"] for picture, _ in scenes]
    sums = [0.0, 0.0]
    count = 0
    with torch.inference_mode():
        for number, (_, caption) in enumerate(scenes):
            encoded = encoder.encode_caption(caption, "picture")
            ids = torch.tensor([encoded.ids])
            labels = torch.tensor(
                [[token if weight else IGNORED for token, weight in zip(encoded.ids, encoded.weights, strict=True)]]
            )
            tokens = int((labels != IGNORED).sum())
            count += tokens
            for place, shown in enumerate((number, (number + 1) % len(scenes))):
                sums[place] += tokens * _loss(model, ids, pixels[shown], labels)
    return CaptionLosses(sums[0] / count, sums[1] / count)


def _loss(model: Any, ids: Any, pixels: Any, labels: Any) -> float:
    return float(model(input_ids=ids, pixel_values=pixels, labels=labels).loss)
