"""Grounded captions: BLIP-2 describes, Grounding DINO finds what the description names (LLaVA-Plus, Table 2)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from services.core.composite import Composite, PartRunner, Pictures
from services.core.types import Box, ImageSize, Score, SkillResult
from services.skills._grounded import ThresholdArgs, detections
from services.skills.blip2 import Blip2, Blip2Args
from services.skills.grounding_dino import GroundingDino


class Blip2GroundingDinoResult(SkillResult):
    """A caption, and boxes with scores and the words of the caption that they are of, best first."""

    caption: str = Field(min_length=1)
    boxes: list[Box]
    logits: list[Score]
    phrases: list[str]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        told = super().observation(brief=brief)
        return {name: told[name] for name in ("caption", "boxes", "phrases")} if brief else told


class Blip2GroundingDino(Composite[ThresholdArgs, Blip2GroundingDinoResult]):
    """Describes a picture in one sentence and gives the boxes of the things that it names."""

    name = "blip2+grounding_dino"
    parts = (Blip2, GroundingDino)
    Args = ThresholdArgs
    Result = Blip2GroundingDinoResult

    async def compose(self, args: ThresholdArgs, images: Pictures, parts: PartRunner) -> Blip2GroundingDinoResult:
        described = await parts.run(Blip2, Blip2Args(), images)
        found = await detections(described.caption, args, images, parts)
        return Blip2GroundingDinoResult(
            caption=described.caption,
            boxes=found.boxes,
            logits=found.logits,
            phrases=found.phrases,
            size=described.size,
        )
