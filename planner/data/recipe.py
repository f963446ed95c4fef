"""What a data recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from planner.data.rows import ROWS
from planner.yaml_file import load_yaml

WRITTEN_ROWS = ("dialogues", "llava_conversation", "llava_detail", "llava_reasoning")
"""Rows that a text model writes: they need `words.endpoint`."""


class DataError(ValueError):
    """Data cannot be built; the message says what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoiseSettings(_Section):
    """Mistakes put into results that come from labels."""

    missed: float = Field(0.08, ge=0, le=1, description="Share of things that a detector overlooks.")
    mistaken: float = Field(0.03, ge=0, le=1, description="Share of calls in which it finds something else too.")
    shift: float = Field(0.008, ge=0, le=0.2, description="Deviation of a box's sides, in sides of the picture.")
    wrong: float = Field(0.06, ge=0, le=1, description="Share of yes or no turned round, and of tags left out.")


class PictureSettings(_Section):
    """Where pictures and their labels come from."""

    source: Literal["world", "coco", "hiertext", "infoseek", "journeydb", "instruct_pix2pix"]
    count: int | None = Field(None, gt=0, description="How many pictures to use; all when absent.")
    annotations: Path | None = Field(None, description="The data set's own annotation file (COCO: instances).")
    captions: Path | None = Field(None, description="COCO's captions file.")
    images: Path | None = Field(None, description="Folder of the data set's pictures.")
    weight: float = Field(1.0, gt=0, description="Share of conversations that are about these.")


class EndpointSettings(_Section):
    """A text model behind any OpenAI-compatible endpoint. Its key comes from `LLAVA_PLUS_DATA_API_KEY`."""

    url: str = Field(pattern=r"^https?://", description="Base address, for example http://127.0.0.1:8000/v1.")
    model: str
    temperature: float = Field(0.9, ge=0, le=2)
    max_tokens: int = Field(400, gt=0, description="Longest answer, tokens.")
    timeout_s: float = Field(60.0, gt=0)
    retries: int = Field(3, ge=0, description="Further tries after an answer that did not come.")
    requests_max: int = Field(10_000, gt=0, description="The most questions asked over all runs of a recipe.")
    tokens_max: int = Field(5_000_000, gt=0, description="The most tokens used over all runs of a recipe.")


class WordSettings(_Section):
    """Who words the requests."""

    by: Literal["grammar", "model"] = Field("grammar", description="model: an endpoint rewrites the seed requests.")
    share: float = Field(1.0, ge=0, le=1, description="For model: share of requests that are rewritten.")
    endpoint: EndpointSettings | None = None


class DataRecipe(_Section):
    """A data set to build."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    samples: int = Field(gt=0)
    seed: int = 1
    shard_samples: int = Field(1000, gt=0, description="Samples of a shard; a run that was cut goes on with a shard.")
    rows: dict[str, float] = Field(min_length=1, description="Rows and their weights.")
    skills: tuple[str, ...] | None = Field(None, description="Rows that need other skills are left out; None: all.")
    choice_share: float = Field(
        0.3, ge=0, le=1, description="Share of samples that end with their first plan, about things of all sorts."
    )
    brief: bool = Field(True, description="Results in brief, as a small planner is shown them.")
    thoughts: Literal["short", "full"] = "short"
    pictures: tuple[PictureSettings, ...] = Field(min_length=1)
    results: Literal["labels", "gateway", "skills"] = Field(
        "labels", description="labels: exact, with noise; gateway: a running platform; skills: in this process."
    )
    gateway_url: str | None = Field(None, description="For gateway: its address; the key from LLAVA_PLUS_API_KEY.")
    noise: NoiseSettings = NoiseSettings()
    words: WordSettings = WordSettings()
    evaluation: tuple[str, ...] = Field(
        (), description="Patterns of evaluation files (JSON lines with `text`): requests that they have are refused."
    )
    chars_max: int = Field(6000, gt=0, description="Longer samples are refused.")

    @field_validator("rows")
    @classmethod
    def _known_rows(cls, rows: dict[str, float]) -> dict[str, float]:
        unknown = sorted(rows.keys() - ROWS.keys() - set(WRITTEN_ROWS))
        if unknown:
            raise ValueError(f"there is no row {unknown[0]!r}; known: {', '.join((*ROWS, *WRITTEN_ROWS))}")
        if any(weight < 0 for weight in rows.values()) or not any(rows.values()):
            raise ValueError("weights are 0 or more, and one at least is more than 0")
        return rows

    @model_validator(mode="after")
    def _has_endpoint(self) -> DataRecipe:
        needs = self.words.by == "model" or any(self.rows.get(name) for name in WRITTEN_ROWS)
        if needs and self.words.endpoint is None:
            raise ValueError("`words.endpoint` is needed for rows or requests that a text model writes")
        if self.results == "gateway" and self.gateway_url is None:
            raise ValueError("`gateway_url` is needed for results from a gateway")
        return self

    @classmethod
    def load(cls, path: Path) -> DataRecipe:
        """Read a YAML recipe.

        Raises:
            DataError: a field is missing, unknown or out of range, or the file is not YAML.
        """
        return load_yaml(cls, path, DataError)
