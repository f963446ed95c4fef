"""Going on from a published checkpoint where the state of the run that made it is not at hand.

The optimizer's moments and what is thrown away after training (auxiliary heads) start afresh, so that the first steps
of such a run are taken with a learning rate that rises. Steps and minutes that the published run took count as done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.embedded.training.curve import Curve
from services.embedded.training.errors import RunError
from services.embedded.training.publish import CARD
from services.embedded.training.state import RunState

if TYPE_CHECKING:
    from services.embedded.training.recipe import Recipe

RISE_STEPS = 60
"""Steps in which the learning rate rises from nothing to where the run's schedule has it."""


class WarmStartError(RunError):
    """There is nothing to go on from, or it does not fit the recipe; the message says what to do."""


def start_from(folder: Path, recipe: Recipe[Any], state: RunState) -> Curve:
    """Fill a fresh run's weights, steps and time from a published checkpoint.

    Returns:
        The curve of the checkpoint's run, to go on with.

    Raises:
        WarmStartError: there is no checkpoint in `folder`, or it does not fit the model.
    """
    card_file = folder / CARD
    if not card_file.is_file():
        raise WarmStartError(f"There is no published checkpoint in {folder}: train without --from-published.")
    recipe.restore(state.model, folder)
    if state.ema is not None:
        state.ema.load_state_dict(state.model.state_dict())
    card = json.loads(card_file.read_text(encoding="utf-8"))
    state.step, state.seconds = card["steps"], 60.0 * card["minutes"]
    return Curve.load(folder / "curve.json")


def restore(model: Any, folder: Path) -> None:
    """Copy the weights in a checkpoint's files into a model, or parts of one.

    Files of networks that are no part of the model (a pipeline's autoencoder) are left. What is trained is often a part
    of the recipe's module: the names in a file then lack what the part's names begin with.

    Raises:
        WarmStartError: the largest file, which has what was trained, does not fit.
    """
    import torch
    from safetensors.torch import load_file

    own = model.state_dict()
    files = sorted(folder.rglob("*.safetensors"), key=lambda file: -file.stat().st_size)
    if not files:
        raise WarmStartError(f"There are no weights in {folder}: train without --from-published.")
    for file in files:
        tensors = load_file(file)
        start = _common_start(tensors, own)
        if start is None and file == files[0]:
            raise WarmStartError(
                f"{file} does not fit the recipe's network: give the settings that its {CARD} names with --set, or "
                "train without --from-published."
            )
        if start is not None:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    own[start + name].copy_(tensor)


def _common_start(tensors: dict[str, Any], own: dict[str, Any]) -> str | None:
    """What must be put before all of the stored names to get the model's, with the same shapes; None where nothing or
    more than one thing would do."""
    first = next(iter(tensors))
    starts = [key.removesuffix(first) for key in own if f".{key}".endswith(f".{first}")]
    fitting = [
        start
        for start in starts
        if all(start + name in own and own[start + name].shape == value.shape for name, value in tensors.items())
    ]
    return fitting[0] if len(fitting) == 1 else None
