"""The base of skills that paint with a Stable Diffusion pipeline of diffusers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from PIL import Image

from services.core.errors import BadArguments, SkillError, SkillFailed
from services.core.skill import Report, SkillCall
from services.core.spec import Symbol
from services.core.types import ImageSize
from services.models.diffusion.contract import DiffusionOptions, PaintArgs, PaintedPicture
from services.models.diffusion.geometry import Size, resized, working_size
from services.models.diffusion.loading import load_pipeline
from services.models.torch_skill import TorchSkill

ArgsT = TypeVar("ArgsT", bound=PaintArgs)

MULTIPLE = 8
"""The pipelines take sides that are multiples of it, also when a latent cell covers fewer pixels."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What a call paints on.

    Attributes:
        size: of what is painted: the result, or a part of it.
        working: what the pipeline paints at.
        pictures: at working size, by the pipeline's keyword for them.
        settings: the pipeline's further keywords; calls share a batch when these and `working` are equal.
    """

    size: Size
    working: Size
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    settings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class _Painting:
    """One call of a batch, ready to be painted."""

    index: int
    args: PaintArgs
    prompt: str
    seed: int
    steps: int
    guidance: float
    canvas: Canvas
    report: Report

    @property
    def kind(self) -> tuple[Any, ...]:
        """Paintings with the same go into one call of the pipeline."""
        return self.steps, self.guidance, self.canvas.working, self.canvas.settings


class DiffusionSkill(TorchSkill[ArgsT, PaintedPicture]):
    """A skill around one pipeline. Subclasses say what a call paints on (`canvas`).

    Every call has a generator of its own on the CPU, seeded with its seed: a picture depends neither on its
    neighbours in a batch nor on the device's own random numbers.
    """

    produces = frozenset({Symbol.IMAGE})
    Options: type[DiffusionOptions] = DiffusionOptions
    Result = PaintedPicture
    settings: DiffusionOptions
    pipeline: ClassVar[str]
    """Name of the diffusers class."""
    component: ClassVar[str] = "unet"
    """What a checkpoint holds when `Options.base` names the rest."""

    def setup(self) -> None:
        import torch

        pipe = load_pipeline(self.pipeline, self.source, self.component, self.settings, self.torch_dtype)
        pipe.to(self.device)
        if self.settings.channels_last:
            pipe.vae.to(memory_format=torch.channels_last)
        # Only what runs in every step is worth compiling.
        self.made_ready(pipe.unet)
        if self.component != "unet":
            self.made_ready(getattr(pipe, self.component))
        self._pipe = pipe

    @abstractmethod
    def canvas(self, call: SkillCall[ArgsT]) -> Canvas:
        """Sizes and pictures for one call.

        Raises:
            BadArguments: the call's pictures cannot be used.
        """

    def finish(self, call: SkillCall[ArgsT], painted: Image.Image) -> Image.Image:
        """The result's picture, from what was painted, which already has the canvas's size."""
        del call
        return painted

    def working_size(self, size: Size) -> Size:
        """The size that the pipeline paints at for a result of `size`."""
        return working_size(size, side=self.side, multiple=math.lcm(MULTIPLE, int(self._pipe.vae_scale_factor)))

    @property
    def side(self) -> int:
        """Side of the square that the pipeline paints best, pixels."""
        return self.settings.side or int(self._pipe.unet.config.sample_size) * int(self._pipe.vae_scale_factor)

    def predict(self, batch: Sequence[SkillCall[ArgsT]]) -> Sequence[PaintedPicture | SkillError]:
        answers: dict[int, PaintedPicture | SkillError] = {}
        groups: dict[tuple[Any, ...], list[_Painting]] = {}
        for index, call in enumerate(batch):
            try:
                painting = self._plan(index, call)
            except BadArguments as error:
                answers[index] = error
            else:
                groups.setdefault(painting.kind, []).append(painting)
        for group in groups.values():
            for painting, picture in zip(group, self._paint(group), strict=True):
                answers[painting.index] = self._answer(batch[painting.index], painting, picture)
        return [answers[index] for index in range(len(batch))]

    def _plan(self, index: int, call: SkillCall[ArgsT]) -> _Painting:
        args = call.args
        return _Painting(
            index=index,
            args=args,
            prompt=args.needed_prompt(),
            seed=args.chosen_seed(),
            steps=args.steps or self.settings.steps,
            guidance=self.settings.guidance if args.guidance is None else args.guidance,
            canvas=self.canvas(call),
            report=call.report,
        )

    def _paint(self, group: Sequence[_Painting]) -> list[Image.Image | None]:
        """One picture a painting, None where the safety checker withheld it."""
        import torch

        first = group[0]
        pictures = {name: [one.canvas.pictures[name] for one in group] for name in first.canvas.pictures}

        def stepped(pipe: Any, index: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            for one in group:
                # Some schedulers take a step more than they were asked for.
                one.report(index + 1, int(pipe.num_timesteps))
            return kept

        output = self._pipe(
            prompt=[one.prompt for one in group],
            negative_prompt=[one.args.negative_prompt for one in group],
            generator=[torch.Generator("cpu").manual_seed(one.seed) for one in group],
            num_inference_steps=first.steps,
            guidance_scale=first.guidance,
            callback_on_step_end=stepped,
            **pictures,
            **dict(first.canvas.settings),
        )
        flagged = output.nsfw_content_detected or [False] * len(group)
        return [None if bad else picture for picture, bad in zip(output.images, flagged, strict=True)]

    def _answer(
        self, call: SkillCall[ArgsT], painting: _Painting, picture: Image.Image | None
    ) -> PaintedPicture | SkillError:
        if picture is None:
            return SkillFailed(
                "The safety checker withheld the picture: change the prompt or the seed.", seed=painting.seed
            )
        finished = self.finish(call, resized(picture, painting.canvas.size))
        return PaintedPicture(
            edited_image=finished,
            seed=painting.seed,
            steps=painting.steps,
            size=ImageSize(width=finished.width, height=finished.height),
        )
