"""Masks from part to whole at a point (Semantic-SAM, arXiv 2307.04767), here with the several masks of SAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.spec import Symbol
from services.core.types import Box, ImageSize, MaskRLE, Point, Score, SkillArgs, SkillResult
from services.models.sam import Prompt, SamOptions, Segment, segmenter
from services.models.torch_skill import TorchSkill

PROMPTS_MAX = 32


def _list_of_points(value: Any) -> Any:
    """One point, [x, y], stands for a list with that point."""
    single = (
        isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(part, (int, float)) for part in value)
    )
    return (value,) if single else value


class SemanticSamArgs(SkillArgs):
    """Arguments of semantic_sam: points, or boxes."""

    point: Annotated[tuple[Point, ...] | None, BeforeValidator(_list_of_points)] = Field(
        default=None,
        max_length=PROMPTS_MAX,
        validation_alias=AliasChoices("point", "points"),
        description="Points [[x, y], ...]; masks of every granularity are made at each.",
    )
    boxes: tuple[Box, ...] | None = Field(
        default=None, max_length=PROMPTS_MAX, description="Boxes; masks of every granularity are made in each."
    )


class MaskLevels(BaseModel):
    """What one point or box may mean, from the finest mask to the coarsest (by area).

    Attributes:
        iou: how well the model expects each mask to fit.
        areas: part of the picture that each mask covers.
        boxes: around each mask, all zero where it is empty.
        best: index of the mask with the highest `iou`.
        by_iou: indices of all masks, highest `iou` first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    masks_rle: list[MaskRLE]
    iou: list[Score]
    areas: list[Score]
    boxes: list[Box]
    best: int = Field(ge=0)
    by_iou: list[int]


class SemanticSamResult(SkillResult):
    """Masks at every granularity for each point or box, in their order, and the best mask of each."""

    levels: list[MaskLevels]
    masks_rle: list[MaskRLE]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        """Boxes and areas from fine to coarse: run-length codes are long and mean nothing to a planner."""
        told = super().observation(brief=brief)
        names = ("boxes", "best") if brief else ("boxes", "areas", "iou", "best")
        levels = [{name: level[name] for name in names} for level in told["levels"]]
        return {"levels": levels} if brief else {"levels": levels, "size": told["size"]}


class SemanticSam(TorchSkill[SemanticSamArgs, SemanticSamResult]):
    """Cuts out what is at a point at every granularity: part, object, group.

    SAM gives three masks for an ambiguous prompt; they are ordered by area, each with its predicted IoU. Semantic-SAM's
    own weights, which give six granularities, do not load: they would need its architecture (a Swin or ViT backbone
    with MaskDINO's pixel decoder, and a decoder that turns each point into six queries with a level embedding).
    """

    name = "semantic_sam"
    aliases = ("semantic-sam",)
    default_checkpoint = "facebook/sam-vit-huge"
    produces = frozenset({Symbol.MASK})
    Args = SemanticSamArgs
    Result = SemanticSamResult
    Options = SamOptions
    settings: SamOptions

    def setup(self) -> None:
        self._segmenter = segmenter(self, self.settings.closer)

    def predict(self, batch: Sequence[SkillCall[SemanticSamArgs]]) -> Sequence[SemanticSamResult | SkillError]:
        asked = [prompts_of(call.args, index) for index, call in enumerate(batch)]
        prompts = [prompt for given in asked if not isinstance(given, SkillError) for prompt in given]
        masks = iter(self._segmenter.segments([call.image for call in batch], prompts, candidates=True))
        return [
            given if isinstance(given, SkillError) else _result(call, [levels_of(next(masks)) for _ in given])
            for call, given in zip(batch, asked, strict=True)
        ]


def prompts_of(args: SemanticSamArgs, picture: int) -> list[Prompt] | BadArguments:
    """One prompt for each point or box."""
    if (args.point is None) == (args.boxes is None):
        return BadArguments("Give either point or boxes: exactly one of them.", argument="point")
    if args.boxes is not None:
        return [Prompt(picture, box=box) for box in args.boxes]
    return [Prompt(picture, points=(point,), labels=(1,)) for point in args.point or ()]


def levels_of(candidates: Sequence[Segment]) -> MaskLevels:
    """The masks of one prompt from fine to coarse."""
    ordered = sorted(candidates, key=lambda item: item.area)
    by_iou = sorted(range(len(ordered)), key=lambda index: -ordered[index].iou)
    return MaskLevels(
        masks_rle=[item.mask for item in ordered],
        iou=[item.iou for item in ordered],
        areas=[item.area for item in ordered],
        boxes=[item.box for item in ordered],
        best=by_iou[0],
        by_iou=by_iou,
    )


def _result(call: SkillCall[SemanticSamArgs], levels: list[MaskLevels]) -> SemanticSamResult:
    width, height = call.image.size
    return SemanticSamResult(
        levels=levels,
        masks_rle=[level.masks_rle[level.best] for level in levels],
        size=ImageSize(width=width, height=height),
    )
