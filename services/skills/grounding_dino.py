"""Open-vocabulary detection with Grounding DINO (arXiv 2303.05499, https://github.com/IDEA-Research/GroundingDINO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from services.core.errors import BadArguments, SkillError
from services.core.skill import SkillCall
from services.core.types import Box, ImageSize, Score, SkillArgs, SkillResult
from services.models.captions import caption_of, packed, phrases_of
from services.models.grounding_dino import Grounder, Grounding, Pass, Thresholds, load_detector
from services.models.torch_skill import TorchOptions, TorchSkill


class GroundingDinoArgs(SkillArgs):
    """Arguments of grounding_dino."""

    caption: str = Field(
        max_length=8000, description="What to find, in English, separated by ' . ', for example 'girl . red cart'."
    )
    box_threshold: float = Field(default=0.3, ge=0.0, le=1.0, description="Boxes that score less are left out.")
    text_threshold: float = Field(
        default=0.25, ge=0.0, le=1.0, description="Words that score less are left out of a box's phrase."
    )


class GroundingDinoResult(SkillResult):
    """Boxes with their scores and phrases, best first."""

    boxes: list[Box]
    logits: list[Score]
    phrases: list[str]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        told = super().observation(brief=brief)
        return {"boxes": told["boxes"], "phrases": told["phrases"]} if brief else told


class GroundingDinoOptions(TorchOptions):
    """Settings of grounding_dino."""

    tokenizer: str = Field(
        "bert-base-uncased", description="Hub id or folder of the tokenizer that goes with an original .pth file."
    )
    rows_max: int = Field(8, ge=1, le=64, description="Most picture and caption pairs in one forward pass.")
    one_phrase: bool = Field(
        False, description="Name a box by its best phrase alone, also where words of others score over the threshold."
    )
    nms_iou: float = Field(
        0.8, gt=0.0, le=1.0, description="Of boxes of one phrase that overlap more, the best is kept; 1 keeps all."
    )


class GroundingDino(TorchSkill[GroundingDinoArgs, GroundingDinoResult]):
    """Finds the things that a caption names and gives their boxes.

    Any English noun phrase can be asked for; several are separated by ' . '. A caption that is longer than the model
    reads at once takes several passes. `phrases` are those words of the caption that a box scores for.
    """

    name = "grounding_dino"
    default_checkpoint = "IDEA-Research/grounding-dino-base"
    Args = GroundingDinoArgs
    Result = GroundingDinoResult
    Options = GroundingDinoOptions

    def setup(self) -> None:
        settings = self._detection
        model, processor = load_detector(self.source, settings.tokenizer)
        # Weights stay in float32: half precision is for the products alone (see `Grounder`).
        model = self.made_ready(model.to(self.device))
        self._grounder = Grounder(model, processor, self.device, self.torch_dtype, settings.rows_max)

    @property
    def _detection(self) -> GroundingDinoOptions:
        assert isinstance(self.settings, GroundingDinoOptions)
        return self.settings

    def predict(self, batch: Sequence[SkillCall[GroundingDinoArgs]]) -> Sequence[GroundingDinoResult | SkillError]:
        captions = [self._captions(call.args.caption) for call in batch]
        passes = [
            Pass(index, caption, self._thresholds(call.args))
            for index, (call, parts) in enumerate(zip(batch, captions, strict=True))
            if not isinstance(parts, SkillError)
            for caption in parts
        ]
        found: list[list[Grounding]] = [[] for _ in batch]
        if passes:
            for row, groundings in zip(passes, self._grounder.run([call.image for call in batch], passes), strict=True):
                found[row.picture].extend(groundings)
        return [
            parts if isinstance(parts, SkillError) else self._result(call, groundings)
            for call, parts, groundings in zip(batch, captions, found, strict=True)
        ]

    def _thresholds(self, args: GroundingDinoArgs) -> Thresholds:
        return Thresholds(args.box_threshold, args.text_threshold, self._detection.one_phrase)

    def _captions(self, caption: str) -> list[str] | BadArguments:
        """The caption in parts that the model reads at once."""
        grounder = self._grounder
        phrases = [phrase for phrase in phrases_of(caption) if grounder.tokens_in(phrase)]
        if not phrases:
            return BadArguments(
                "The caption names nothing: say what to find, for example 'girl . cart'.", argument="caption"
            )
        if any(grounder.tokens_in(phrase) > grounder.phrase_tokens_max for phrase in phrases):
            return BadArguments(
                "A phrase of the caption is too long: name each thing in a few words, separated by ' . '.",
                argument="caption",
            )
        return [caption_of(group) for group in packed(phrases, grounder.tokens_in, grounder.tokens_max)]

    def _result(self, call: SkillCall[GroundingDinoArgs], found: Sequence[Grounding]) -> GroundingDinoResult:
        width, height = call.image.size
        kept = without_repeats(sorted(found, key=lambda item: -item.score), self._detection.nms_iou)
        return GroundingDinoResult(
            boxes=[item.box for item in kept],
            logits=[item.score for item in kept],
            phrases=[item.phrase for item in kept],
            size=ImageSize(width=width, height=height),
        )


def without_repeats(found: Sequence[Grounding], iou: float) -> list[Grounding]:
    """Leave out boxes that overlap a better one of the same phrase by more than `iou`; `found` is best first."""
    if iou >= 1.0 or not found:
        return list(found)
    import torch
    from torchvision.ops import batched_nms

    phrases = {phrase: index for index, phrase in enumerate(sorted({item.phrase for item in found}))}
    kept = batched_nms(
        torch.tensor([item.box for item in found]),
        torch.tensor([item.score for item in found]),
        torch.tensor([phrases[item.phrase] for item in found]),
        iou,
    )
    return [found[index] for index in sorted(kept.tolist())]
