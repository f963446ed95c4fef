"""Tagging with RAM and RAM++ (arXiv 2306.03514, 2310.15200; https://github.com/xinyu1205/recognize-anything)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from services.core.errors import SkillError
from services.core.skill import SkillCall
from services.core.types import ImageSize, Score, SkillArgs, SkillResult
from services.models.regions import whole_and_tiles
from services.models.torch_skill import TorchOptions, TorchSkill


class RamArgs(SkillArgs):
    """Arguments of ram: none."""


class RamResult(SkillResult):
    """Tags that the picture has, the surest first, each with its score."""

    tags: list[str]
    scores: list[Score]
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        return {"tags": ", ".join(self.tags)} if brief else super().observation(brief=False)


class RamOptions(TorchOptions):
    """Settings of ram; the last three are for the original project's `.pth` files alone."""

    tiles: int = Field(
        1,
        ge=1,
        le=4,
        description="From 2 on: look at the picture also in this many overlapping tiles along each side, one pass "
        "through the network for each. A tag's score is the mean of the whole picture's and the best tile's.",
    )
    tags: Path | None = Field(None, description="Text file with one tag a line; `ram_tag_list.txt` beside the weights.")
    thresholds: Path | None = Field(
        None, description="Text file with one score a line; `ram_tag_list_threshold.txt` beside the weights, else 0.68."
    )
    image_size: int = Field(384, ge=1, description="Side that pictures are resized to, pixels.")


class RamSkill(TorchSkill[RamArgs, RamResult]):
    """Lists what is in a picture: names of things, scenes and actions.

    Gives every tag that is likely enough, the surest first, with its score; no places.
    """

    name = "ram"
    default_checkpoint = "xinyu1205/recognize-anything-plus-model"
    Args = RamArgs
    Result = RamResult
    Options = RamOptions
    settings: RamOptions

    def setup(self) -> None:
        import torch

        from services.models.ram.checkpoint import OriginalFiles, load

        options = self.settings
        model, self._vocabulary = load(self.source, OriginalFiles(options.tags, options.thresholds, options.image_size))
        self._model = self.place(model)
        self._thresholds = torch.tensor(self._vocabulary.thresholds)

    def predict(self, batch: Sequence[SkillCall[RamArgs]]) -> Sequence[RamResult | SkillError]:
        import torch

        from services.models.ram.preprocess import pixels_of

        count = self.settings.tiles
        looks = [region.cut(call.image) for call in batch for region in whole_and_tiles(call.image.size, count)]
        pixels = self.pixels(pixels_of(looks, self._model.config))
        with torch.inference_mode():
            scores = self._model(pixels).float().sigmoid().cpu()
        scores = scores.view(len(batch), -1, scores.shape[-1])
        if count > 1:
            scores = (scores[:, :1] + scores[:, 1:].amax(dim=1, keepdim=True)) / 2
        return [self._result(row, call.image.size) for row, call in zip(scores[:, 0], batch, strict=True)]

    def _result(self, scores: Any, size: tuple[int, int]) -> RamResult:
        """What a picture's scores [tags] say."""
        order = scores.argsort(descending=True, stable=True)
        found = order[(scores > self._thresholds)[order]].tolist()
        return RamResult(
            tags=[self._vocabulary.tags[index] for index in found],
            scores=scores[found].tolist(),
            size=ImageSize(width=size[0], height=size[1]),
        )
