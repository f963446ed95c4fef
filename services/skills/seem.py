"""Segmentation by example with SegGPT (arXiv 2304.03284), in the place of SEEM (arXiv 2304.06718).

SegGPT paints: the reference picture stands above the picture, the reference mask, white on black, above a blank, and
the network fills in the blank. Any checkpoint that transformers' `SegGptForImageSegmentation` loads will do. SEEM's own
files (`seem_focall_v0.pt`) hold an X-Decoder with visual prompts, which transformers does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import ImageSize, MaskRLE, Score, SkillArgs, SkillResult
from services.models.mask_pictures import box_around, inside
from services.models.pixels import byte_tensors
from services.models.regions import around, joined, tiles
from services.models.torch_skill import TorchOptions, TorchSkill


class SeemArgs(SkillArgs):
    """Arguments of seem."""

    threshold: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="How bright, 0 to 1, the network must paint a pixel of the mask."
    )


class SeemResult(SkillResult):
    """One mask of the picture's size, or none where nothing is like the example."""

    masks_rle: list[MaskRLE] = Field(max_length=1)
    score: Score = Field(description="Mean confidence inside the mask, 0 where there is none.")
    area: Score = Field(description="Fraction of the picture that the mask covers.")
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        if not brief:
            return super().observation(brief=False)
        return {"found": bool(self.masks_rle), "score": round(self.score, 2), "area": round(self.area, 2)}


class SeemOptions(TorchOptions):
    """Settings of seem."""

    closer: float | None = Field(
        None,
        ge=1.0,
        le=8.0,
        description="Look at the example in a square of this many times its longer side, not in its whole picture.",
    )
    tiles: int = Field(
        1,
        ge=1,
        le=4,
        description="Look at the picture in this many overlapping tiles along each side, one pass through the network "
        "for each: a small network finds small things so.",
    )


class Seem(TorchSkill[SeemArgs, SeemResult]):
    """Finds in a picture what is marked in a reference picture.

    Takes a reference picture with a mask over an example, and gives the mask of the same kind of thing in the picture.
    """

    name = "seem"
    consumes = frozenset({Symbol.IMAGE, Symbol.REFERENCE_IMAGE, Symbol.REFERENCE_MASK})
    produces = frozenset({Symbol.MASK})
    default_checkpoint = "BAAI/seggpt-vit-large"
    Args = SeemArgs
    Result = SeemResult
    Options = SeemOptions
    settings: SeemOptions

    def setup(self) -> None:
        from transformers import AutoImageProcessor, SegGptForImageSegmentation

        self._processor = AutoImageProcessor.from_pretrained(self.source)
        self._model = self.place(SegGptForImageSegmentation.from_pretrained(self.source))

    def predict(self, batch: Sequence[SkillCall[SeemArgs]]) -> Sequence[SeemResult | SkillError]:
        examples = [
            inside(call.images[Symbol.REFERENCE_MASK], call.images[Symbol.REFERENCE_IMAGE].size) for call in batch
        ]
        good = [index for index, example in enumerate(examples) if example.any()]
        answers: list[SeemResult | SkillError] = [_empty_example() for _ in batch]
        if good:
            painted = self._paint([batch[index] for index in good], [examples[index] for index in good])
            for index, confidence in zip(good, painted, strict=True):
                answers[index] = _result(batch[index], confidence)
        return answers

    def _paint(self, calls: Sequence[SkillCall[SeemArgs]], examples: Sequence[NDArray[np.bool_]]) -> list[Any]:
        """How surely each pixel belongs, 0..1: for each call [height, width], at its own size where it has tiles."""
        parts = [tiles(call.image.size, self.settings.tiles) for call in calls]
        looks = []
        for call, example, mine in zip(calls, examples, parts, strict=True):
            reference, mask = call.images[Symbol.REFERENCE_IMAGE], example
            if self.settings.closer is not None:
                region = around(box_around(example), reference.size, self.settings.closer)
                reference, mask = region.cut(reference), region.inside(example)
            looks += [(tile.cut(call.image), reference, mask) for tile in mine]
        painted = iter(self._painted(*zip(*looks, strict=True)))
        found = [[next(painted)[None] for _ in mine] for mine in parts]
        # One look is enlarged once, with the picture; several must have the picture's size to lie over each other.
        return [
            maps[0][0] if len(maps) == 1 else joined(mine, maps, call.image.size)[0]
            for mine, maps, call in zip(parts, found, calls, strict=True)
        ]

    def _painted(
        self, pictures: Sequence[Image.Image], references: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]
    ) -> Any:
        """How surely each pixel belongs, [batch, height, width] in 0..1 at the network's size; one forward for all."""
        import torch

        size = self._processor.size
        inputs = self._processor(
            images=byte_tensors(pictures, self.device),
            prompt_images=byte_tensors(references, self.device),
            prompt_masks=[shrunk(mask, size.height, size.width).astype(np.uint8) for mask in masks],
            num_labels=1,
            input_data_format="channels_first",
            return_tensors="pt",
        )
        with torch.inference_mode():
            outputs = self._model(**{name: self.pixels(tensor) for name, tensor in inputs.items()})
        # The upper half repeats the example's mask.
        blank = outputs.pred_masks[:, :, size.height :].float()
        mean, deviation = (
            torch.tensor(values, device=blank.device)[None, :, None, None]
            for values in (self._processor.image_mean, self._processor.image_std)
        )
        return (blank * deviation + mean).clamp(0, 1).mean(dim=1)


def shrunk(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """A mask at the network's size by nearest neighbour, as SegGPT's image processor does; a speck never vanishes."""
    middles = [
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip((height, width), mask.shape, strict=True)
    ]
    nearest: NDArray[np.bool_] = mask[np.ix_(*middles)]
    if not nearest.any():
        rows, columns = mask.nonzero()
        nearest[rows * height // mask.shape[0], columns * width // mask.shape[1]] = True
    return nearest


def _result(call: SkillCall[SeemArgs], confidence: Any) -> SeemResult:
    from torch.nn.functional import interpolate

    width, height = call.image.size
    at_size = interpolate(confidence[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    mask = at_size > call.args.threshold
    found = bool(mask.any())
    return SeemResult(
        masks_rle=[MaskRLE.from_array(mask.cpu().numpy())] if found else [],
        score=min(float(at_size[mask].mean()), 1.0) if found else 0.0,
        area=float(mask.float().mean()),
        size=ImageSize(width=width, height=height),
    )


def _empty_example() -> BadArguments:
    return BadArguments(
        "seem: the reference mask is empty. Give a mask that is white over the example in the reference picture.",
        argument="reference_mask",
    )
