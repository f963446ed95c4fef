"""Grounded tags: RAM lists what is in a picture, Grounding DINO finds it (LLaVA-Plus, Table 2)."""

from __future__ import annotations

from typing import Any

from services.core.composite import Composite, PartRunner, Pictures
from services.core.types import Box, ImageSize, Score, SkillResult
from services.models.captions import caption_of
from services.skills._grounded import ThresholdArgs, detections
from services.skills.grounding_dino import GroundingDino
from services.skills.ram import RamArgs, RamSkill


class RamGroundingDinoResult(SkillResult):
    """All tags, the surest first; and boxes with scores and the tags that they are of, best first."""

    tags: list[str]
    boxes: list[Box]
    logits: list[Score]
    phrases: list[str]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        told = super().observation(brief=brief)
        return {name: told[name] for name in ("tags", "boxes", "phrases")} if brief else told


class RamGroundingDino(Composite[ThresholdArgs, RamGroundingDinoResult]):
    """Lists what is in a picture and gives the boxes of what can be located.

    Tags of scenes and actions, and things that the detector does not find, have no box.
    """

    name = "ram+grounding_dino"
    parts = (RamSkill, GroundingDino)
    Args = ThresholdArgs
    Result = RamGroundingDinoResult

    async def compose(self, args: ThresholdArgs, images: Pictures, parts: PartRunner) -> RamGroundingDinoResult:
        tagged = await parts.run(RamSkill, RamArgs(), images)
        # A full stop ends a phrase: within a tag it would make two of it.
        found = await detections(caption_of([tag.replace(".", " ") for tag in tagged.tags]), args, images, parts)
        return RamGroundingDinoResult(
            tags=tagged.tags, boxes=found.boxes, logits=found.logits, phrases=found.phrases, size=tagged.size
        )
