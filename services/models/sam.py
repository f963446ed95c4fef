"""Segment Anything (arXiv 2304.02643, https://github.com/facebookresearch/segment-anything): masks from prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.core.types import Box, MaskRLE
from services.models.grouping import grouped
from services.models.mask_pictures import box_around
from services.models.original_files import is_original_file
from services.models.regions import Region, around, whole
from services.models.sam_original import load_original
from services.models.torch_skill import TorchOptions, TorchSkill

FOREGROUND = 1
PROMPTS_MAX = 32
"""Most prompts in one pass through the mask decoder: each takes 4 MB of picture features, and their attention."""
PIXELS_MAX = 1 << 26
"""Most mask values that are held at full size at once: 256 MB of float32."""
LOOKS_MAX = 8
"""Most closer looks that pass through the image encoder at once: a huge one takes 2 GB for each."""


class SamOptions(TorchOptions):
    """Settings of skills that cut out with SAM."""

    closer: float | None = Field(
        None,
        ge=1.0,
        le=8.0,
        description="Look at each mask a second time, in a square of this many times its longer side. Costs another "
        "pass through the image encoder for each; a small network's masks fit much better. Left out: one look.",
    )


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


def segmenter(skill: TorchSkill[Any, Any], closer: float | None) -> Segmenter:
    """The segmenter that a skill's settings ask for; `closer` as in `SamOptions`."""
    model, processor = load_sam(skill.source)
    model = model.to(skill.device).eval().requires_grad_(False)
    model.vision_encoder = skill.place(model.vision_encoder)
    return Segmenter(model, processor, skill.device, closer)


class Segmenter:
    """Embeds pictures once and decodes all of their prompts.

    Args:
        model: a `SamModel` on `device`. The image encoder may be in half precision, the rest is in float32, since
            coordinates in half precision are off by several pixels.
        processor: gives the mean and the deviation of colours.
        device: where the model is.
        closer: as in `SamOptions`.
    """

    def __init__(self, model: Any, processor: Any, device: str, closer: float | None = None) -> None:
        import torch

        self._closer = closer
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
        first = self._looked(pictures, prompts, candidates=candidates)
        if self._closer is None:
            return first
        return self._looked_closer(pictures, prompts, first, self._closer, candidates=candidates)

    def _looked_closer(
        self,
        pictures: Sequence[Image.Image],
        prompts: Sequence[Prompt],
        first: Sequence[Sequence[Segment]],
        factor: float,
        *,
        candidates: bool,
    ) -> list[list[Segment]]:
        """What the first look found, cut out anew from what is around each mask, or around the box that was given."""
        better = [list(found) for found in first]
        looks: list[tuple[int, int, Region, Prompt]] = []
        for index, (prompt, found) in enumerate(zip(prompts, first, strict=True)):
            size = pictures[prompt.picture].size
            for place, seen in enumerate(found):
                region = around(prompt.box or seen.box, size, factor)
                asked = on_region(prompt, region, size)
                if seen.area and asked is not None and region != whole(size):
                    looks.append((index, place, region, asked))
        for start in range(0, len(looks), LOOKS_MAX):
            some = looks[start : start + LOOKS_MAX]
            again = self._looked(
                [region.cut(pictures[asked.picture]) for _, _, region, asked in some],
                [replace(asked, picture=row) for row, (*_, asked) in enumerate(some)],
                candidates=candidates,
            )
            for (index, place, region, asked), found in zip(some, again, strict=True):
                if found[place].area:
                    mask = region.outside(found[place].mask.to_array(), pictures[asked.picture].size)
                    better[index][place] = segment(mask, found[place].iou)
        return better

    def _looked(
        self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt], *, candidates: bool
    ) -> list[list[Segment]]:
        """`segments` at one look."""
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


def on_region(prompt: Prompt, region: Region, size: tuple[int, int]) -> Prompt | None:
    """A prompt on a picture of `size` (width, height) as one on a region of it; None without a point to cut out.

    Points outside the region are left out: the network has not learned of any beyond its picture.
    """
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        return replace(prompt, box=(*region.point((x0, y0), size), *region.point((x1, y1), size)))
    held = [pair for pair in zip(prompt.points, prompt.labels, strict=True) if region.holds(pair[0], size)]
    if FOREGROUND not in [label for _, label in held]:
        return None
    points, labels = zip(*held, strict=True)
    return replace(prompt, points=tuple(region.point(point, size) for point in points), labels=labels)


def segment(mask: NDArray[np.bool_], iou: float) -> Segment:
    """A [height, width] mask with what is told about it."""
    return Segment(MaskRLE.from_array(mask), min(max(iou, 0.0), 1.0), box_around(mask), float(mask.mean()))
