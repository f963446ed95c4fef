"""CLIP (arXiv 2103.00020) as a maker of unit vectors, for indexes and for queries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LONGEST_SIDES_RATIO = 4


class Encoder(Protocol):
    """What indexes need of a CLIP.

    Attributes:
        dim: length of a vector.
        fingerprint: the same for the same weights.
    """

    dim: int
    fingerprint: str

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Unit vectors [n, dim] of RGB pictures."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors [n, dim]; what a text has beyond the model's context is cut off."""


class ClipEncoder:
    """A `transformers.CLIPModel` with its processor.

    Args:
        source: what `from_pretrained` takes.
        place: puts the model on its device and in its precision.
        pixels: does the same to a batch of pictures.
    """

    def __init__(self, source: str, place: Callable[[Any], Any], pixels: Callable[[Any], Any]) -> None:
        from transformers import CLIPModel, CLIPProcessor

        model = CLIPModel.from_pretrained(source)
        self.fingerprint = fingerprint(model)
        self.dim: int = model.config.projection_dim
        self._model = place(model)
        self._pixels = pixels
        self._processor = CLIPProcessor.from_pretrained(source)
        self._longest_text: int = model.config.text_config.max_position_embeddings

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        import torch

        inputs = self._processor(
            images=[middle(picture) for picture in pictures],
            return_tensors="pt",
            # Told, not guessed: of a picture one pixel wide the processor cannot know which side is the colours'.
            input_data_format="channels_first",
        )
        with torch.inference_mode():
            features = self._model.get_image_features(pixel_values=self._pixels(inputs["pixel_values"]))
        return unit(features.pooler_output)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        inputs = self._processor.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest_text, return_tensors="pt"
        )
        device = self._model.device
        with torch.inference_mode():
            features = self._model.get_text_features(
                input_ids=inputs["input_ids"].to(device), attention_mask=inputs["attention_mask"].to(device)
            )
        return unit(features.pooler_output)


def middle(picture: Image.Image) -> Image.Image:
    """The middle of a very long picture.

    CLIP scales the shorter side and keeps the middle square: the ends are never seen, but would be scaled with it.
    """
    width, height = picture.size
    longest = _LONGEST_SIDES_RATIO * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return picture.crop((left, top, left + min(width, longest), top + min(height, longest)))


def unit(features: Any) -> NDArray[np.float32]:
    """Rows of a tensor [n, dim], scaled to length one."""
    rows: NDArray[np.float32] = features.float().cpu().numpy()
    lengths: NDArray[np.float32] = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows / lengths


def fingerprint(model: Any) -> str:
    """Hash of the projection into the shared space, whatever precision the weights came in."""
    weights = model.visual_projection.weight.detach().half().cpu().numpy()
    return hashlib.sha256(weights.tobytes()).hexdigest()[:16]
