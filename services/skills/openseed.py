"""Semantic segmentation with Mask2Former (arXiv 2112.01527), in the place of OpenSeeD (arXiv 2303.08131).

Any checkpoint that transformers' `Mask2FormerForUniversalSegmentation` loads will do; its `id2label` gives the classes.
OpenSeeD's own file (`openseed_ade20k_swinl.pt`) holds another architecture: a MaskDINO decoder that scores masks
against embeddings of class names from a CLIP-like text encoder, which transformers does not have. Running it takes
those two parts beside the Swin-L backbone and deformable pixel decoder that are here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import ImageSize, Picture, Score, SkillArgs, SkillResult
from services.models.aspect import within_ratio
from services.models.palette import NO_CLASS, paint, palette
from services.models.pixels import byte_tensors
from services.models.regions import whole_and_tiles
from services.models.semantic import Look, semantic_map_of
from services.models.torch_skill import TorchOptions, TorchSkill

BRIEF_AREA_MIN = 0.005
"""Classes that cover less of the picture are left out of what a small planner is told."""

RATIO_MAX = 32
"""A picture that is longer than this many times its short side is seen as if it were not: a processor that keeps within
a longest edge would scale the short side of such a strip to nothing."""


class OpenSeedArgs(SkillArgs):
    """Arguments of openseed."""

    classes: tuple[str, ...] | None = Field(
        default=None,
        max_length=256,
        description="Names of the classes to show; what belongs to others stays black. All classes when absent.",
    )


class SegmentLabel(BaseModel):
    """One class in a segmentation map."""

    name: str
    id: int = Field(ge=0, description="The class id in the checkpoint.")
    area: Score = Field(description="Fraction of the picture that the class covers.")
    colour: tuple[int, int, int] = Field(description="RGB, 0 to 255, of the class in the map.")


class OpenSeedResult(SkillResult):
    """A map with one colour for each class, of the picture's size, and its classes, the largest first."""

    image_seg: Picture
    labels: list[SegmentLabel]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        if not brief:
            return super().observation(brief=False)
        return {"labels": {label.name: round(label.area, 2) for label in self.labels if label.area >= BRIEF_AREA_MIN}}


class OpenSeedOptions(TorchOptions):
    """Settings of openseed."""

    tiles: int = Field(
        1,
        ge=1,
        le=4,
        description="From 2 on: look at the picture also in this many overlapping tiles along each side, one pass "
        "through the network for each: a small network names small things better so.",
    )


class OpenSeed(TorchSkill[OpenSeedArgs, OpenSeedResult]):
    """Says for every pixel of a picture what it belongs to.

    Gives a segmentation map with one colour for each class (ADE20K's colours), and the classes with the fraction of
    the picture that each covers.
    """

    name = "openseed"
    aliases = ("semantic_segmentation",)
    produces = frozenset({Symbol.IMAGE_SEG})
    default_checkpoint = "facebook/mask2former-swin-large-ade-semantic"
    Args = OpenSeedArgs
    Result = OpenSeedResult
    Options = OpenSeedOptions
    settings: OpenSeedOptions

    def setup(self) -> None:
        from transformers import AutoImageProcessor, Mask2FormerForUniversalSegmentation

        self._processor = AutoImageProcessor.from_pretrained(self.source)
        self._model = self.place(Mask2FormerForUniversalSegmentation.from_pretrained(self.source))
        labels = self._model.config.id2label
        self._names = [labels[index].strip() for index in range(len(labels))]

    def predict(self, batch: Sequence[SkillCall[OpenSeedArgs]]) -> Sequence[OpenSeedResult | SkillError]:
        wanted = [self._wanted(call.args.classes) for call in batch]
        good = [index for index, ids in enumerate(wanted) if not isinstance(ids, BadArguments)]
        maps = dict(zip(good, self._segment([batch[index].image for index in good]), strict=True))
        return [
            ids if isinstance(ids, BadArguments) else self._result(maps[index], ids) for index, ids in enumerate(wanted)
        ]

    def _wanted(self, classes: Sequence[str] | None) -> frozenset[int] | BadArguments | None:
        try:
            return chosen(classes, self._names)
        except BadArguments as error:
            return error

    def _segment(self, pictures: Sequence[Image.Image]) -> list[NDArray[np.int64]]:
        """Maps of class ids [height, width], one forward for all pictures and tiles of one shape.

        Pictures of different shapes are not padded to a common one: the pixel decoder would see the padding.
        """
        import torch

        regions = [whole_and_tiles(picture.size, self.settings.tiles) for picture in pictures]
        inputs = self._inputs(
            [region.cut(picture) for picture, mine in zip(pictures, regions, strict=True) for region in mine]
        )
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, pixels in enumerate(inputs):
            by_shape[tuple(pixels.shape)].append(index)
        said: dict[int, tuple[Any, Any]] = {}
        with torch.inference_mode():
            for group in by_shape.values():
                outputs = self._model(pixel_values=self.pixels(torch.stack([inputs[index] for index in group])))
                said.update(
                    zip(
                        group, zip(outputs.class_queries_logits, outputs.masks_queries_logits, strict=True), strict=True
                    )
                )
            maps, number = [], iter(range(len(inputs)))
            for picture, mine in zip(pictures, regions, strict=True):
                looks = []
                for region in mine:
                    index = next(number)
                    height, width = inputs[index].shape[1:]
                    looks.append(Look(region, *said[index], (height, width)))
                maps.append(semantic_map_of(looks, (picture.height, picture.width)).cpu().numpy())
        return maps

    def _inputs(self, pictures: Sequence[Image.Image]) -> list[Any]:
        """Normalised pictures [3, height, width], each at the size that the processor gives its shape."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        pictures = [within_ratio(picture, RATIO_MAX) for picture in pictures]
        for index, picture in enumerate(pictures):
            by_size[picture.size].append(index)
        inputs: dict[int, Any] = {}
        for group in by_size.values():
            tensors = byte_tensors([pictures[index] for index in group], self.device)
            processed = self._processor(images=tensors, input_data_format="channels_first", return_tensors="pt")
            inputs.update(zip(group, processed["pixel_values"], strict=True))
        return [inputs[index] for index in range(len(pictures))]

    def _result(self, ids: NDArray[np.int64], wanted: frozenset[int] | None) -> OpenSeedResult:
        count = len(self._names)
        if wanted is not None:
            ids = np.where(np.isin(ids, list(wanted)), ids, NO_CLASS)
        pixels = np.bincount(ids[ids != NO_CLASS], minlength=count)
        colours = palette(count).tolist()
        present = sorted(np.flatnonzero(pixels).tolist(), key=lambda index: -pixels[index])
        return OpenSeedResult(
            image_seg=Image.fromarray(paint(ids, count)),
            labels=[
                SegmentLabel(
                    name=self._names[index],
                    id=index,
                    area=float(pixels[index] / ids.size),
                    colour=(colours[index][0], colours[index][1], colours[index][2]),
                )
                for index in present
            ],
            size=ImageSize(width=ids.shape[1], height=ids.shape[0]),
        )


def chosen(classes: Sequence[str] | None, names: Sequence[str]) -> frozenset[int] | None:
    """Ids of the classes asked for, or None for all of them.

    A class is found by its whole name or, where that is a list such as "door, double door", by one entry; case and
    spaces around do not matter.

    Raises:
        BadArguments: the checkpoint has no such class; the message names close ones.
    """
    if not classes:
        return None
    known: dict[str, set[int]] = defaultdict(set)
    for index, name in enumerate(names):
        for term in (name, *name.split(",")):
            known[term.strip().casefold()].add(index)
    found: set[int] = set()
    for asked in classes:
        term = asked.strip().casefold()
        if term not in known:
            raise BadArguments(_no_such_class(asked, term, known), argument="classes")
        found |= known[term]
    return frozenset(found)


def _no_such_class(asked: str, term: str, known: dict[str, set[int]]) -> str:
    close = get_close_matches(term, known, n=5, cutoff=0.6) or sorted(name for name in known if term and term in name)
    hint = f"Did you mean {', '.join(close[:5])}?" if close else "Nothing is called alike."
    return f"openseed: there is no class {asked!r}. {hint} Leave `classes` out to see all that are in the picture."
