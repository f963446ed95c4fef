"""Several planners on the same requests: the papers' ablations, as a file of variants and how they are trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from planner.eval.command import EvaluationError, PlannerChoice
from planner.eval.figures import Share, table
from planner.eval.sight import CaptionLosses
from planner.eval.weights import NoWeights, newest
from planner.yaml_file import load_yaml

SHIPPED = Path(__file__).parent / "ablations.yaml"
_COLUMNS = {
    "valid": "valid",
    "choice": "tool choice",
    "arguments": "arguments",
    "needless": "needless calls",
    "kept_from": "vain wishes",
}


_LOSSES = ("caption loss, own picture", "another's picture")
_ABOUT_LOSSES = """
Caption loss: mean negative log likelihood a token (nats) of held-out scenes' captions, given the scene's own picture
and given another scene's. What the first is less than the second by is what the planner sees; the requests' pictures
stand for nothing, so that the other columns do not show it.
"""


class Variant(BaseModel):
    """One planner. The fields are those of `planner.eval.command.PlannerChoice`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="As the table shows it.")
    changes: str = Field("", description="What is different, and which training setting makes it so.")
    planner: str = "embedded"
    model: str = Field("", description="The endpoint's model, or a folder of weights.")
    dialect: str = ""
    skills: tuple[str, ...] = ()
    learned: tuple[str, ...] | None = Field(None, description="Skills known by name; the profile's when absent.")
    key_env: str = ""
    settings: dict[str, Any] | None = Field(
        None, description="Settings of the training that are changed for it; None: it is not trained here."
    )

    def choice(self, learned: tuple[str, ...], skills: tuple[str, ...]) -> PlannerChoice:
        """What to score; `learned` and `skills` are the profile's."""
        known = learned if self.learned is None else self.learned
        return PlannerChoice(self.planner, self.model, self.key_env, self.dialect, self.skills or skills, known)

    @property
    def missing(self) -> str:
        """Why it cannot be run now, "" if it can: its weights have to be trained first."""
        if not self.planner.startswith("embedded") or not self.model:
            return ""
        try:
            newest(Path(self.model))
        except NoWeights:
            return f"no weights in {self.model}"
        return ""


class Training(BaseModel):
    """The two configurations that every variant is trained by, with its own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    projector: Path = Field(description="Stage 1.")
    planner: Path = Field(description="Stage 2.")


class Study(BaseModel):
    """A file of variants."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: Training | None = Field(None, description="Needed where a variant has `settings`.")
    variants: tuple[Variant, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_run(self) -> Study:
        if len({variant.name for variant in self.variants}) != len(self.variants):
            raise ValueError("two variants have the same name")
        trained = [variant for variant in self.variants if variant.settings is not None]
        if trained and self.training is None:
            raise ValueError(f"{trained[0].name!r} has `settings`, but `training` names no configurations")
        if any(not variant.model for variant in trained):
            raise ValueError("a variant with `settings` needs `model`, the folder that it is written to")
        return self

    @classmethod
    def load(cls, path: Path) -> Study:
        """Read a YAML file.

        Raises:
            EvaluationError: it is damaged; the message says where.
        """
        return load_yaml(cls, path, EvaluationError)


def train_missing(study: Study, tell: Callable[[str], None], minutes: float | None = None) -> None:
    """Train every variant that has settings and no weights yet; what was cut goes on.

    Args:
        minutes: begin nothing new, and stop what runs (resumable), after this time.

    Raises:
        EvaluationError: a configuration, or what it names, is not there or does not fit.
    """
    from planner.train.config import ConfigError, TrainConfig
    from planner.train.variants import Stages

    begun = time.monotonic()
    try:
        for variant in study.variants:
            if variant.settings is None or not variant.missing:
                continue
            assert study.training is not None, "checked when the file was read"
            stages = Stages(TrainConfig.load(study.training.projector), TrainConfig.load(study.training.planner))
            tell(f"training: {variant.name}")
            left = None if minutes is None else minutes - (time.monotonic() - begun) / 60
            if left is not None and left <= 0:
                return
            if not stages.train(variant.settings, Path(variant.model), tell, left):
                return
    except ConfigError as error:
        raise EvaluationError(str(error)) from None


@dataclass(frozen=True)
class Outcome:
    """What came of one variant.

    Attributes:
        shares: the figures of the hand-written requests.
        missing: why there are none.
        caption_losses: see `planner.eval.sight`; None for an endpoint.
    """

    shares: Mapping[str, Share] = field(default_factory=dict)
    missing: str = ""
    caption_losses: CaptionLosses | None = None


def to_markdown(results: Mapping[str, tuple[Variant, Outcome]]) -> str:
    """One row a variant: its figures, or why there are none."""
    rows = []
    for variant, outcome in results.values():
        cells: list[object] = [outcome.missing, *[None] * (len(_COLUMNS) - 1)]
        if outcome.shares:
            cells = [outcome.shares[name] for name in _COLUMNS]
        losses = outcome.caption_losses
        rows.append(
            [variant.name, variant.changes, *cells, losses and f"{losses.own:.2f}", losses and f"{losses.other:.2f}"]
        )
    return table(["variant", "what is different", *_COLUMNS.values(), *_LOSSES], rows) + "\n" + _ABOUT_LOSSES


def to_json(results: Mapping[str, tuple[Variant, Outcome]]) -> dict[str, Any]:
    return {
        name: outcome.missing
        or {
            "figures": {key: share.to_json() for key, share in outcome.shares.items()},
            "caption_losses": asdict(outcome.caption_losses) if outcome.caption_losses else None,
        }
        for name, (_, outcome) in results.items()
    }
