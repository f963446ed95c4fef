"""Several planners on the same requests: the papers' ablations, as a file of variants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.eval.command import EvaluationError, PlannerChoice
from planner.eval.figures import Share, table

SHIPPED = Path(__file__).parent / "ablations.yaml"
_COLUMNS = {
    "valid": "valid",
    "choice": "tool choice",
    "arguments": "arguments",
    "needless": "needless calls",
    "kept_from": "vain wishes",
}


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

    def choice(self, learned: tuple[str, ...], skills: tuple[str, ...]) -> PlannerChoice:
        """What to score; `learned` and `skills` are the profile's."""
        known = learned if self.learned is None else self.learned
        return PlannerChoice(self.planner, self.model, self.key_env, self.dialect, self.skills or skills, known)

    @property
    def missing(self) -> str:
        """Why it cannot be run now, "" if it can: its weights have to be trained first."""
        if self.planner.startswith("embedded") and self.model and not Path(self.model).is_dir():
            return f"no weights in {self.model}"
        return ""


def read_variants(path: Path) -> list[Variant]:
    """The variants of a YAML file.

    Raises:
        EvaluationError: it is damaged; the message says where.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        variants = [Variant.model_validate(one) for one in data["variants"]]
    except (yaml.YAMLError, ValidationError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path} is no list of variants: {error}") from None
    if len({variant.name for variant in variants}) != len(variants):
        raise EvaluationError(f"{path}: two variants have the same name.")
    return variants


def to_markdown(results: Mapping[Variant, Mapping[str, Share] | str]) -> str:
    """One row a variant: its figures, or why there are none."""
    rows = []
    for variant, found in results.items():
        cells: list[object] = (
            [found, *[None] * (len(_COLUMNS) - 1)] if isinstance(found, str) else [found[name] for name in _COLUMNS]
        )
        rows.append([variant.name, variant.changes, *cells])
    return table(["variant", "what is different", *_COLUMNS.values()], rows) + "\n"


def to_json(results: Mapping[Variant, Mapping[str, Share] | str]) -> dict[str, Any]:
    return {
        variant.name: found if isinstance(found, str) else {name: share.to_json() for name, share in found.items()}
        for variant, found in results.items()
    }
