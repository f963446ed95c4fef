"""Grounded segmentation: Grounding DINO finds what a caption names, SAM cuts it out (LLaVA-Plus, Table 2)."""

from __future__ import annotations

import asyncio
from typing import Any

from services.core.composite import Composite, PartRunner, Pictures
from services.core.spec import Symbol
from services.core.types import Box, ImageSize, MaskRLE, Score, SkillResult
from services.skills.grounding_dino import GroundingDino, GroundingDinoArgs
from services.skills.sam import PROMPTS_MAX, Sam, SamArgs


class GroundedSamArgs(GroundingDinoArgs):
    """Arguments of grounding_dino+sam: those of grounding_dino."""


class GroundedSamResult(SkillResult):
    """Boxes with their scores, phrases and masks, best first."""

    boxes: list[Box]
    logits: list[Score]
    phrases: list[str]
    masks_rle: list[MaskRLE]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        """Without the masks, whose run-length codes are long and mean nothing to a planner."""
        told = super().observation(brief=brief)
        return {
            name: told[name] for name in (("boxes", "phrases") if brief else ("boxes", "logits", "phrases", "size"))
        }


class GroundedSam(Composite[GroundedSamArgs, GroundedSamResult]):
    """Finds the things that a caption names and cuts them out.

    Gives the boxes that grounding_dino finds and, for each, the mask that sam makes of it.
    """

    name = "grounding_dino+sam"
    aliases = ("grounded_sam",)
    produces = frozenset({Symbol.MASK})
    parts = (GroundingDino, Sam)
    Args = GroundedSamArgs
    Result = GroundedSamResult

    async def compose(self, args: GroundedSamArgs, images: Pictures, parts: PartRunner) -> GroundedSamResult:
        found = await parts.run(GroundingDino, args, images)
        groups = [tuple(found.boxes[start : start + PROMPTS_MAX]) for start in range(0, len(found.boxes), PROMPTS_MAX)]
        cut = await asyncio.gather(*(parts.run(Sam, SamArgs(boxes=group), images) for group in groups))
        return GroundedSamResult(
            boxes=found.boxes,
            logits=found.logits,
            phrases=found.phrases,
            masks_rle=[mask for group in cut for mask in group.masks_rle],
            size=found.size,
        )
