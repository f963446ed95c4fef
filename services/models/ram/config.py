"""Sizes of a RAM or RAM++ model, and those of the published ones."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_THRESHOLD = 0.68
"""Score that a tag needs where nothing else is said, as in the original project."""


class SwinConfig(BaseModel):
    """A Swin Transformer (arXiv 2103.14030): each stage halves the side of the map and doubles the channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch_size: int = Field(4, ge=1, description="Side of a patch, pixels.")
    embed_dim: int = Field(ge=1, description="Channels of the first stage.")
    depths: tuple[int, ...] = Field(min_length=1, description="Blocks in each stage.")
    num_heads: tuple[int, ...] = Field(min_length=1, description="Attention heads in each stage.")
    window_size: int = Field(ge=1, description="Side of an attention window, cells; a smaller map is one window.")
    mlp_ratio: float = Field(4.0, gt=0)
    drop_path_rate: float = Field(0.1, ge=0, lt=1, description="Part of samples that skip the last block in training.")

    @property
    def out_dim(self) -> int:
        """Channels of the last map."""
        return self.embed_dim << (len(self.depths) - 1)

    @property
    def stride(self) -> int:
        """Pixels to a cell of the last map."""
        return self.patch_size << (len(self.depths) - 1)

    def resolutions(self, image_size: int) -> tuple[int, ...]:
        """Side of each stage's map, cells."""
        return tuple(image_size // (self.patch_size << stage) for stage in range(len(self.depths)))


class RamConfig(BaseModel):
    """Sizes of the whole model; `config.json` of a checkpoint folder.

    `descriptions_per_tag` above 1 means RAM++: a tag has that many text features, and the picture says how much each of
    them counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(384, ge=1, description="Side that pictures are resized to, pixels.")
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    swin: SwinConfig
    num_tags: int = Field(ge=1)
    descriptions_per_tag: int = Field(1, ge=1)
    label_dim: int = Field(512, ge=1, description="Width of tag features and projected picture features (CLIP's).")
    hidden_size: int = Field(768, ge=1, description="Width of the tagging head.")
    intermediate_size: int = Field(3072, ge=1)
    num_layers: int = Field(2, ge=1, description="Layers of the tagging head.")
    num_heads: int = Field(4, ge=1, description="Attention heads of the tagging head.")
    dropout: float = Field(0.1, ge=0, lt=1, description="In the tagging head, in training.")

    @model_validator(mode="after")
    def _fits(self) -> RamConfig:
        if len(self.swin.depths) != len(self.swin.num_heads):
            raise ValueError("swin: depths and num_heads need one entry for each stage")
        if self.image_size % self.swin.stride:
            raise ValueError(f"image_size {self.image_size} must be a multiple of {self.swin.stride}, the stride")
        for stage, side in enumerate(self.swin.resolutions(self.image_size)):
            if side > self.swin.window_size and side % self.swin.window_size:
                raise ValueError(f"stage {stage}: {side} cells are no multiple of window {self.swin.window_size}")
        return self

    @property
    def plus(self) -> bool:
        """Whether this is RAM++."""
        return self.descriptions_per_tag > 1


SWIN_LARGE_384 = SwinConfig(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=12)
RAM_SWIN_LARGE = RamConfig(swin=SWIN_LARGE_384, num_tags=4585)
RAM_PLUS_SWIN_LARGE = RamConfig(swin=SWIN_LARGE_384, num_tags=4585, descriptions_per_tag=51)
