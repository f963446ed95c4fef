"""What a training configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from planner.yaml_file import load_yaml

EMBEDDED = "embedded"


class ConfigError(ValueError):
    """A training configuration has a mistake; the message names the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """Samples in the released form: a file, the built-in generator, or ScienceQA as it is published."""

    path: Path | None = Field(None, description="JSON list or JSON lines of samples.")
    generate: Literal["reading"] | None = Field(None, description="Built-in samples instead of a file.")
    science_qa: Path | None = Field(None, description="Folder with ScienceQA's problems.json and pid_splits.json.")
    split: str = Field("train", description="For ScienceQA: train, val, trainval or test.")
    samples: int | None = Field(None, gt=0, description="How many to take (to make, where they are generated).")
    images: Path | None = Field(None, description="Folder of the pictures that the samples name.")
    repeat: int = Field(1, ge=1, description="How often each sample is seen in an epoch.")

    @model_validator(mode="after")
    def _one_of(self) -> Source:
        if sum(given is not None for given in (self.path, self.generate, self.science_qa)) != 1:
            raise ValueError("a source needs either `path`, `generate` or `science_qa`")
        if self.generate is not None and self.samples is None:
            raise ValueError("generated samples need their number: `samples`")
        return self


class LoraSettings(_Section):
    """Low-rank updates of all linear layers of the language model (arXiv 2106.09685)."""

    rank: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    start_from: Path | None = Field(None, description="Folder of an adapter to go on from; None: a fresh one.")


class TrainConfig(_Section):
    """One training run. Folders are relative to the working directory."""

    run: Path = Field(description="Folder for checkpoints, logs and TensorBoard; not committed.")
    output: Path = Field(description="Where the result goes: adapter, projector or whole model, and the curve.")

    model: str = Field(EMBEDDED, description="`embedded`, or the folder or hub id of a LLaVA-architecture model.")
    weights: Path | None = Field(None, description="For `embedded`: folder with its adapter and vision parts.")
    tower: str | None = Field(
        None, description="For `embedded` whose `weights` have no vision parts yet: the CLIP checkpoint to see with."
    )
    language: Literal["frozen", "lora", "full"] = Field("lora", description="What is trained of the language model.")
    projector: bool = Field(False, description="Whether the projector is trained.")
    projector_from: Path | None = Field(None, description="projector.safetensors of stage 1 to start from.")
    projector_fresh: bool = Field(False, description="Start from a random projector (ablation: not pre-trained).")
    vision_layer: int | None = Field(None, description="Layer of picture features; -1 the last (ablation), -2 LLaVA's.")
    lora: LoraSettings = LoraSettings()
    on_top: bool = Field(
        False, description="For `embedded`: the LoRA goes on top of the model as it is served, and is served beside it."
    )
    merge: bool = Field(False, description="Write the whole model with the adapter merged, not the adapter alone.")

    form: Literal["json", "llava_plus_v0", "text", "caption"] = Field(
        "json",
        description="How a sample is written: a dialect; text: plain answers, as LLaVA's; caption: a picture and its "
        "text alone, as in LLaVA's stage 1.",
    )
    setting: Literal["fly", "all_tools"] = Field(
        "fly", description="fly: the planner calls tools; all_tools: it is given their results before the question."
    )
    observations: Path | None = Field(
        None, description="For all_tools: JSON lines of {image, observations}; without it, what a sample's calls gave."
    )
    thoughts: bool = Field(True, description="Whether plans are written with their thoughts (ablation: without).")
    skills: tuple[str, ...] = Field((), description="Tools that the prompt lists where a sample does not say `tools`.")
    learned: tuple[str, ...] = Field(
        (),
        description="Tools that the model is to know by name, as a profile's `planner.learned`: the prompt says only "
        "which of them a sample is `without`.",
    )

    @property
    def offered(self) -> tuple[str, ...]:
        """The tools of a sample that does not say `tools`."""
        return tuple(dict.fromkeys((*self.learned, *self.skills)))

    data: tuple[Source, ...] = Field(min_length=1)
    epochs: int = Field(1, ge=1)
    seed: int = Field(7, description="Seeds data order, fresh weights and made-up pictures.")
    pool: int = Field(512, gt=0, description="Samples that are sorted or packed together.")
    packing: bool = Field(False, description="Fill rows with several samples that do not see each other.")
    lengths: tuple[int, ...] = Field(min_length=1, description="Row lengths in tokens; longer samples are left out.")
    batch_tokens: int = Field(1536, gt=0, description="Tokens of a batch on one device, padding included.")
    accumulation: int = Field(1, ge=1, description="Batches of one step on each device.")

    learning_rate: float = Field(6e-4, gt=0, description="Peak; cosine to `final_rate` of it.")
    final_rate: float = Field(0.1, ge=0, le=1)
    warmup: float = Field(0.03, ge=0, description="Share of all steps, or their number where it is 1 or more.")
    weight_decay: float = Field(0.0, ge=0)
    choice_weight: float = Field(1.0, gt=0, description="Weight of the tokens that choose: call or answer, which tool.")
    cut_share: float = Field(
        0.0, ge=0, le=1, description="Share of samples that end where their first plan has chosen."
    )
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = Field(False, description="Recompute layers in the backward pass: less memory.")
    compile: bool = Field(False, description="Compile the layers (CPU: 1.5 times faster, needs a C++ compiler).")
    attention: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa"
    deepspeed: Path | None = Field(None, description="DeepSpeed's JSON; FSDP is chosen by accelerate's own file.")
    workers: int = Field(0, ge=0, description="Processes that prepare batches.")
    log_every: int = Field(20, gt=0, description="Steps between points of the curve.")
    checkpoint_every: int = Field(100, gt=0, description="Steps between checkpoints.")
    checkpoints_kept: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _trains_something(self) -> TrainConfig:
        if self.language == "frozen" and not self.projector:
            raise ValueError("nothing is trained: set `language` or `projector`")
        if self.model == EMBEDDED and self.weights is None:
            raise ValueError("the embedded model needs `weights`")
        if self.packing and len(self.lengths) != 1:
            raise ValueError("packed rows have one length: give one in `lengths`")
        if max(self.lengths) > self.batch_tokens:
            raise ValueError("a row is longer than `batch_tokens`")
        return self

    @classmethod
    def load(cls, path: Path) -> TrainConfig:
        """Read a YAML configuration.

        Raises:
            ConfigError: a field is missing, unknown or out of range, or the file is not YAML.
        """
        return load_yaml(cls, path, ConfigError)
