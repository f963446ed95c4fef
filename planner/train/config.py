"""What a training recipe says."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field


class TrainConfig(BaseModel):
    """A LoRA fine-tune of the embedded planner. Folders are relative to the working directory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Path = Field(description="Where the adapter, the vision tower and the model card go.")
    run: Path = Field(description="Folder for checkpoints and logs; not committed.")
    start_from: Path | None = Field(default=None, description="Folder of an adapter to go on from; None: a fresh one.")
    skills: tuple[str, ...] = Field(description="Tools that the system prompt lists.")
    samples: int = Field(gt=0, description="Training samples in all, each seen once.")
    seed: int = Field(default=7, description="Seeds data, adapter and pictures.")
    pool: int = Field(default=512, gt=0, description="Samples sorted by length together.")
    lengths: tuple[int, ...] = Field(description="Padded lengths in tokens; longer samples are left out.")
    batch_tokens: int = Field(default=1536, gt=0, description="Tokens a batch, padding included.")
    rank: int = Field(default=16, gt=0, description="LoRA rank.")
    alpha: int = Field(default=32, gt=0, description="LoRA alpha.")
    learning_rate: float = Field(default=6e-4, gt=0, description="Peak learning rate; cosine to a tenth of it.")
    warmup_steps: int = Field(default=30, ge=0, description="Steps of linear warm-up.")
    choice_weight: float = Field(default=6.0, gt=0, description="Weight of the token that decides call or answer.")
    compile: bool = Field(default=True, description="Compile the layers: 1.5 times faster, needs a C++ compiler.")
    checkpoint_every: int = Field(default=100, gt=0, description="Steps between checkpoints.")

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a YAML recipe.

        Raises:
            pydantic.ValidationError: a field is missing, unknown or out of range.
        """
        return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
