"""Arguments, result and settings of diffusion skills; readable without torch."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from pydantic import Field

from services.core.errors import BadArguments
from services.core.types import ImageSize, Picture, SkillArgs, SkillResult
from services.models.torch_skill import TorchOptions

SEED_MAX = 2**32 - 1
STEPS_MAX = 100

SchedulerName = Literal["ddim", "pndm", "euler", "euler_ancestral", "dpm++", "unipc"]


class PaintArgs(SkillArgs):
    """Arguments that all diffusion skills have."""

    prompt: str = Field(min_length=1, max_length=2000, description="What the picture shall show.")
    negative_prompt: str = Field("", max_length=2000, description="What it shall not show.")
    seed: int | None = Field(
        None, ge=0, le=SEED_MAX, description="Repeats a result; drawn and reported when it is not given."
    )
    steps: int | None = Field(
        None, ge=1, le=STEPS_MAX, description="Denoising steps: more are slower and finer; the checkpoint's default."
    )
    guidance: float | None = Field(
        None,
        ge=1.0,
        le=30.0,
        description="How closely to follow the prompt, 1 for no guidance; the checkpoint's default.",
    )

    def needed_prompt(self) -> str:
        """The prompt.

        Raises:
            BadArguments: it is blank.
        """
        if not self.prompt.strip():
            raise BadArguments("The prompt is empty: say what the picture shall show.", argument="prompt")
        return self.prompt

    def chosen_seed(self) -> int:
        """The seed asked for, or a fresh one."""
        return secrets.randbelow(SEED_MAX + 1) if self.seed is None else self.seed


class PaintedPicture(SkillResult):
    """A new picture; `seed` repeats it."""

    edited_image: Picture
    seed: int = Field(ge=0, le=SEED_MAX)
    steps: int = Field(ge=1, le=STEPS_MAX)
    size: ImageSize

    def observation(self, *, brief: bool) -> dict[str, Any]:
        if not brief:
            return super().observation(brief=False)
        return {"message": "The picture is ready."}


class DiffusionOptions(TorchOptions):
    """Settings of a diffusion skill; the defaults suit Stable Diffusion 1.5."""

    base: str | None = Field(
        None,
        description="Checkpoint of the whole pipeline, when `checkpoint` holds only the component that differs "
        "(the UNet, whole or as its difference from the base's, or for controlnet the ControlNet).",
    )
    config: str | None = Field(
        None,
        description="Folder or hub id with the configuration and tokenizer that a single-file checkpoint lacks; "
        "diffusers fetches those of its kind from the hub when absent.",
    )
    variant: str | None = Field(None, description="Variant of the weight files, for example fp16.")
    scheduler: SchedulerName | None = Field(None, description="Sampler; the checkpoint's own when absent.")
    steps: int = Field(30, ge=1, le=STEPS_MAX, description="Denoising steps of a call that names none.")
    guidance: float = Field(7.5, ge=1.0, le=30.0, description="Guidance of a call that names none.")
    side: int | None = Field(
        None,
        ge=32,
        le=2048,
        description="Pictures are painted with about side * side pixels; the UNet's own size when absent.",
    )
    safety_checker: bool = Field(
        False, description="Load the checkpoint's safety checker; a picture that it flags is withheld."
    )
