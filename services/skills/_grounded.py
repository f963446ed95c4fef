"""What composites that end in a detection share."""

from __future__ import annotations

from pydantic import Field

from services.core.composite import PartRunner, Pictures
from services.core.errors import BadArguments
from services.core.types import Box, Score, SkillArgs, SkillResult
from services.skills.grounding_dino import GroundingDino, GroundingDinoArgs


class ThresholdArgs(SkillArgs):
    """Arguments of a composite that words its detector's caption itself."""

    box_threshold: float = Field(default=0.3, ge=0.0, le=1.0, description="Boxes that score less are left out.")
    text_threshold: float = Field(
        default=0.25, ge=0.0, le=1.0, description="Words that score less are left out of a box's phrase."
    )


class Detections(SkillResult):
    """Boxes with their scores and phrases, best first."""

    boxes: list[Box]
    logits: list[Score]
    phrases: list[str]


async def detections(caption: str, args: ThresholdArgs, images: Pictures, parts: PartRunner) -> Detections:
    """What grounding_dino finds of a caption that another model wrote; nothing where the caption names nothing.

    Raises:
        SkillError: the detector's own, other than about the caption, which nobody who calls the composite can mend.
    """
    asked = GroundingDinoArgs(caption=caption, box_threshold=args.box_threshold, text_threshold=args.text_threshold)
    try:
        found = await parts.run(GroundingDino, asked, images)
    except BadArguments as error:
        if error.details.get("argument") != "caption":
            raise
        return Detections(boxes=[], logits=[], phrases=[])
    return Detections(boxes=found.boxes, logits=found.logits, phrases=found.phrases)
