"""What skills on torch share: where the model goes, in which precision, and seeded randomness."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from services.core.checkpoints import checkpoint_source
from services.core.precision import native_dtype
from services.core.skill import Skill
from services.core.types import SkillArgs, SkillResult

ArgsT = TypeVar("ArgsT", bound=SkillArgs)
ResultT = TypeVar("ResultT", bound=SkillResult)
ModelT = TypeVar("ModelT")


class TorchOptions(BaseModel):
    """Settings that every torch skill takes from its profile's `options`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["float32", "bfloat16", "float16", "native"] = Field(
        "float32",
        description="Precision of weights and inputs. native: bfloat16 where the device computes in it, else float32.",
    )
    compile: bool = Field(False, description="Compile the model with torch.compile: slower start, faster calls.")
    channels_last: bool = Field(True, description="Keep convolution weights and pictures channels-last.")


class TorchSkill(Skill[ArgsT, ResultT]):
    """A skill whose model is a torch module. `Options` may be a subclass of `TorchOptions` with more settings."""

    Options: type[TorchOptions] = TorchOptions

    def __init__(self, checkpoint: str | None = None, device: str = "cpu", **options: Any) -> None:
        super().__init__(checkpoint, device, **options)
        self.settings = self.Options.model_validate(options)

    @property
    def source(self) -> str:
        """The configured checkpoint as `from_pretrained` takes it (see `checkpoint_source`)."""
        return checkpoint_source(self.checkpoint or self.default_checkpoint)

    @property
    def torch_dtype(self) -> Any:
        """The `torch.dtype` of `Options.dtype`."""
        import torch

        named = self.settings.dtype
        return getattr(torch, native_dtype(self.device) if named == "native" else named)

    def place(self, model: ModelT) -> ModelT:
        """Put a module on the device, in the configured precision and memory format, ready for inference."""
        module: Any = model
        placed: ModelT = self.made_ready(module.to(device=self.device, dtype=self.torch_dtype))
        return placed

    def made_ready(self, model: ModelT) -> ModelT:
        """A module that is on its device already: memory format, inference, and compiled where that is asked for."""
        import torch

        module: Any = model
        module = module.eval().requires_grad_(False)
        if self.settings.channels_last:
            module = module.to(memory_format=torch.channels_last)
        if self.settings.compile:
            module.compile()
        ready: ModelT = module
        return ready

    def pixels(self, tensor: Any) -> Any:
        """A batch of pictures [batch, channels, height, width] on the model's device, precision and memory format."""
        import torch

        tensor = tensor.to(device=self.device, dtype=self.torch_dtype)
        return tensor.to(memory_format=torch.channels_last) if self.settings.channels_last else tensor
