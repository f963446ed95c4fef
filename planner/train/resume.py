"""What a run was begun with: one that goes on with other samples or settings would mix two trainings, or do nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from planner.train.config import ConfigError, TrainConfig
from planner.train.plan import Batch

RECORD = "begun_with.json"
_SETTINGS = {
    "language",
    "projector",
    "projector_fresh",
    "vision_layer",
    "form",
    "setting",
    "thoughts",
    "accumulation",
    "learning_rate",
    "final_rate",
    "warmup",
    "weight_decay",
    "choice_weight",
}
"""Those that change what is learned at a step; which samples it has is told by the batches."""


def claim(config: TrainConfig, batches: Sequence[Batch], *, resumed: bool, first: bool) -> None:
    """Record in the run's folder what it begins with, or compare, where it goes on.

    Args:
        resumed: whether the folder has a checkpoint to go on from. One of an earlier version, without a record, is
            gone on with.
        first: whether this is the process that writes.

    Raises:
        ConfigError: the run was begun with something else; the message names it.
    """
    path = config.run / RECORD
    now = _begun_with(config, batches)
    if resumed and path.is_file():
        then = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in now if then.get(name) != now[name])
        if changed:
            raise ConfigError(
                f"{config.run} holds a run that was begun with other {', '.join(changed)}: name another `run`, or "
                "remove the folder to start afresh."
            )
    elif first:
        config.run.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)


def _begun_with(config: TrainConfig, batches: Sequence[Batch]) -> dict[str, Any]:
    settings = config.model_dump(mode="json", include=_SETTINGS)
    rows = [[[row.samples, row.length] for row in batch] for batch in batches]
    samples = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return settings | {"lora": [config.lora.rank, config.lora.alpha], "samples": samples}
