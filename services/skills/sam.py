"""Masks from boxes or points with Segment Anything (arXiv 2304.02643)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import Box, ImageSize, MaskRLE, Point, Score, SkillArgs, SkillResult
from services.models.sam import Prompt, SamOptions, Segment, segmenter
from services.models.torch_skill import TorchSkill

PROMPTS_MAX = 64
POINTS_MAX = 16


class SamArgs(SkillArgs):
    """Arguments of sam: boxes, or points with their labels."""

    boxes: tuple[Box, ...] | None = Field(
        default=None, max_length=PROMPTS_MAX, description="One mask is made for each box."
    )
    points: tuple[tuple[Point, ...], ...] | None = Field(
        default=None,
        max_length=PROMPTS_MAX,
        description="One mask is made for each list of points: [[[x, y], ...], ...].",
    )
    point_labels: tuple[tuple[Literal[0, 1], ...], ...] | None = Field(
        default=None,
        max_length=PROMPTS_MAX,
        description="For each point 1 where it is on the object, 0 where it is not. All 1 when left out.",
    )


class SamResult(SkillResult):
    """One mask for each box or list of points, in their order.

    `iou` is how well the model expects each mask to fit; `boxes` are around the masks, all zero where one is empty.
    """

    masks_rle: list[MaskRLE]
    iou: list[Score]
    boxes: list[Box]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        """The masks' boxes: run-length codes are long and mean nothing to a planner."""
        told = super().observation(brief=brief)
        return {name: told[name] for name in (("boxes",) if brief else ("boxes", "iou", "size"))}


class Sam(TorchSkill[SamArgs, SamResult]):
    """Cuts out the object in each box, or at each point.

    For a box the model's single mask is taken; for points the best of its three by predicted IoU, since a point may
    mean a part, an object or a group. Loads hub ids, folders, and segment-anything's own `.pth` files.
    """

    name = "sam"
    default_checkpoint = "facebook/sam-vit-huge"
    produces = frozenset({Symbol.MASK})
    Args = SamArgs
    Result = SamResult
    Options = SamOptions
    settings: SamOptions

    def setup(self) -> None:
        self._segmenter = segmenter(self, self.settings.closer)

    def predict(self, batch: Sequence[SkillCall[SamArgs]]) -> Sequence[SamResult | SkillError]:
        asked = [prompts_of(call.args, index) for index, call in enumerate(batch)]
        prompts = [prompt for given in asked if not isinstance(given, SkillError) for prompt in given]
        masks = iter(self._segmenter.segments([call.image for call in batch], prompts, candidates=False))
        return [
            given if isinstance(given, SkillError) else _result(call, [next(masks)[0] for _ in given])
            for call, given in zip(batch, asked, strict=True)
        ]


def prompts_of(args: SamArgs, picture: int) -> list[Prompt] | BadArguments:
    """One prompt for each mask that the call wants."""
    if (args.boxes is None) == (args.points is None):
        return BadArguments("Give either boxes or points: exactly one of them.", argument="boxes")
    if args.boxes is not None:
        if args.point_labels is not None:
            return BadArguments("point_labels go with points: leave them out for boxes.", argument="point_labels")
        return [Prompt(picture, box=box) for box in args.boxes]
    points = args.points or ()
    counts = [len(group) for group in points]
    if any(not 1 <= count <= POINTS_MAX for count in counts):
        return BadArguments(f"Each list of points has 1 to {POINTS_MAX} points.", argument="points")
    labels: Sequence[tuple[int, ...]] = [(1,) * count for count in counts]
    if args.point_labels is not None:
        labels = args.point_labels
    if [len(group) for group in labels] != counts:
        return BadArguments("point_labels needs one label, 0 or 1, for each point.", argument="point_labels")
    return [Prompt(picture, points=group, labels=signs) for group, signs in zip(points, labels, strict=True)]


def _result(call: SkillCall[SamArgs], found: Sequence[Segment]) -> SamResult:
    width, height = call.image.size
    return SamResult(
        masks_rle=[item.mask for item in found],
        iou=[item.iou for item in found],
        boxes=[item.box for item in found],
        size=ImageSize(width=width, height=height),
    )
