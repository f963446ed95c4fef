"""Segment Anything (arXiv 2304.02643, https://github.com/facebookresearch/segment-anything): masks from prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.core.types import Box, MaskRLE
from services.models.grouping import grouped
from services.models.original_files import is_original_file
from services.models.sam_original import load_original
from services.models.torch_skill import TorchSkill

FOREGROUND = 1
PROMPTS_MAX = 32
"""Most prompts in one pass through the mask decoder: each takes 4 MB of picture features, and their attention."""
PIXELS_MAX = 1 << 26
"""Most mask values that are held at full size at once: 256 MB of float32."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one mask is asked by: a box, or points.

    Attributes:
        picture: index of the picture.
        box: xyxy in 0..1, or None.
        points: xy in 0..1, [n].
        labels: 1 where a point is inside, 0 where it is outside, [n].
    """

    picture: int
    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One mask at the picture's size.

    Attributes:
        iou: what the model expects the mask's overlap with the true one to be, in 0..1.
        box: xyxy around the mask in 0..1; all zero where the mask is empty.
        area: part of the picture, in 0..1.
    """

    mask: MaskRLE
    iou: float
    box: Box
    area: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """Pictures as the image encoder sees them.

    Attributes:
        features: [pictures, channels, grid, grid].
        inner: (height, width) of each picture inside the square network input.
        sizes: (height, width) of each picture.
    """

    features: Any
    inner: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[int, int], ...]


def load_sam(source: str) -> tuple[Any, Any]:
    """A `SamModel` and its `SamImageProcessor`, from a hub id, a folder, or segment-anything's `.pth`.

    Raises:
        SkillFailed: the file holds another model.
    """
    from transformers import SamImageProcessor, SamModel

    if is_original_file(source):
        return load_original(source), SamImageProcessor()
    return SamModel.from_pretrained(source), SamImageProcessor.from_pretrained(source)


def segmenter(skill: TorchSkill[Any, Any]) -> Segmenter:
    """The segmenter that a skill's settings ask for."""
    model, processor = load_sam(skill.source)
    model = model.to(skill.device).eval().requires_grad_(False)
    model.vision_encoder = skill.place(model.vision_encoder)
    return Segmenter(model, processor, skill.device)


class Segmenter:
    """Embeds pictures once and decodes all of their prompts.

    Args:
        model: a `SamModel` on `device`. The image encoder may be in half precision, the rest is in float32, since
            coordinates in half precision are off by several pixels.
        processor: gives the mean and the deviation of colours.
        device: where the model is.
    """

    def __init__(self, model: Any, processor: Any, device: str) -> None:
        import torch

        self._model = model
        self._device = device
        self._side = int(model.config.vision_config.image_size)
        channels = (1, 3, 1, 1)
        self._mean = torch.tensor(processor.image_mean, device=device).view(channels) * 255
        self._deviation = torch.tensor(processor.image_std, device=device).view(channels) * 255

    def segments(
        self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt], *, candidates: bool
    ) -> list[list[Segment]]:
        """Masks of every prompt.

        Args:
            candidates: give the several masks that the model has for a prompt, from part to whole; otherwise the one
                that fits it best.
        """
        if not prompts:
            return []
        embedded = self.embed(pictures)
        found: dict[int, list[Segment]] = {}
        for members in grouped((prompt.box is None, len(prompt.points)) for prompt in prompts):
            for start in range(0, len(members), PROMPTS_MAX):
                chosen = members[start : start + PROMPTS_MAX]
                masks, iou = self.decode(embedded, [prompts[index] for index in chosen], candidates=candidates)
                for row, index in enumerate(chosen):
                    found[index] = self._full(embedded, prompts[index].picture, masks[row], iou[row].tolist())
        return [found[index] for index in range(len(prompts))]

    def embed(self, pictures: Sequence[Image.Image]) -> Embedded:
        """Pass pictures through the image encoder, all at once: each fills a square of the same size."""
        import torch

        inner = tuple(self._inner(picture) for picture in pictures)
        pixels = torch.zeros(len(pictures), 3, self._side, self._side, device=self._device)
        for index, (picture, (height, width)) in enumerate(zip(pictures, inner, strict=True)):
            # Resized by PIL, like the original: torch's resizing rounds some pixels otherwise.
            resized = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
            colours = torch.from_numpy(resized.copy()).to(self._device).permute(2, 0, 1)[None]
            pixels[index, :, :height, :width] = ((colours - self._mean) / self._deviation)[0]
        encoder = self._model.vision_encoder
        with torch.inference_mode():
            features = encoder(pixels.to(encoder.dtype)).last_hidden_state.float()
        return Embedded(features, inner, tuple((picture.height, picture.width) for picture in pictures))

    def _inner(self, picture: Image.Image) -> tuple[int, int]:
        """(height, width) of the picture when its longest side fills the network's input."""
        scale = self._side / max(picture.size)
        return max(1, int(picture.height * scale + 0.5)), max(1, int(picture.width * scale + 0.5))

    def decode(self, embedded: Embedded, prompts: Sequence[Prompt], *, candidates: bool) -> tuple[Any, Any]:
        """Mask logits [prompts, masks, height, width] at the decoder's size, and predicted IoU [prompts, masks].

        The prompts are of one kind: all boxes, or all of as many points. For a box the decoder's single mask is taken,
        for points the best of several by predicted IoU, since a point is ambiguous and a box is not.
        """
        import torch

        boxes = prompts[0].box is not None
        coordinates = torch.stack([self._coordinates(embedded, prompt) for prompt in prompts])[:, None]
        given = (
            {"input_boxes": coordinates.flatten(2)}
            if boxes
            else {
                "input_points": coordinates,
                "input_labels": torch.tensor([prompt.labels for prompt in prompts], device=self._device)[:, None],
            }
        )
        rows = torch.tensor([prompt.picture for prompt in prompts], device=self._device)
        with torch.inference_mode():
            output = self._model(
                image_embeddings=embedded.features[rows], multimask_output=candidates or not boxes, **given
            )
        masks, iou = output.pred_masks[:, 0], output.iou_scores[:, 0]
        if candidates:
            return masks, iou
        best = iou.argmax(dim=1)
        row = torch.arange(len(prompts), device=self._device)
        return masks[row, best][:, None], iou[row, best][:, None]

    def _coordinates(self, embedded: Embedded, prompt: Prompt) -> Any:
        """Points, or the corners of the box, in pixels of the network's input, [n, 2]."""
        import torch

        height, width = embedded.inner[prompt.picture]
        points = prompt.points if prompt.box is None else (prompt.box[:2], prompt.box[2:])
        return torch.tensor(points, device=self._device) * torch.tensor([width, height], device=self._device)

    def full_size(self, masks: Any, inner: tuple[int, int], size: tuple[int, int]) -> Any:
        """Mask logits [n, height, width] at the picture's size: enlarged, cut to the picture, enlarged again."""
        from torch.nn.functional import interpolate

        square = interpolate(masks[None], (self._side, self._side), mode="bilinear", align_corners=False)
        return interpolate(square[..., : inner[0], : inner[1]], size, mode="bilinear", align_corners=False)[0]

    def _full(self, embedded: Embedded, picture: int, masks: Any, iou: Sequence[float]) -> list[Segment]:
        inner, size = embedded.inner[picture], embedded.sizes[picture]
        step = max(1, PIXELS_MAX // (self._side**2 + size[0] * size[1]))
        inside: Iterator[NDArray[np.bool_]] = (
            mask
            for start in range(0, len(masks), step)
            for mask in (self.full_size(masks[start : start + step], inner, size) > 0).cpu().numpy()
        )
        return [segment(mask, score) for mask, score in zip(inside, iou, strict=True)]


def segment(mask: NDArray[np.bool_], iou: float) -> Segment:
    """A [height, width] mask with what is told about it."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (0.0, 0.0, 0.0, 0.0)
    if len(rows):
        box = (
            float(columns[0] / width),
            float(rows[0] / height),
            float((columns[-1] + 1) / width),
            float((rows[-1] + 1) / height),
        )
    return Segment(MaskRLE.from_array(mask), min(max(iou, 0.0), 1.0), box, float(mask.mean()))
