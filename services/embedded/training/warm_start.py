"""Going on from a published checkpoint where the state of the run that made it is not at hand.

The optimizer's moments and what is thrown away after training (auxiliary heads) start afresh, so that the first steps
of such a run are taken with a learning rate that rises.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.embedded.training.curve import Curve
from services.embedded.training.publish import CARD
from services.embedded.training.state import RunState

RISE_STEPS = 60
"""Steps in which the learning rate rises from nothing to where the run's schedule has it."""


class WarmStartError(RuntimeError):
    """The checkpoint does not fit the recipe; the message says what to do."""


def start_from(folder: Path, state: RunState) -> Curve:
    """Fill a fresh run's weights, steps and time from a published checkpoint.

    Returns:
        The curve of the checkpoint's run, to go on with.

    Raises:
        WarmStartError: there is no checkpoint in `folder`, or none of its files fits the model.
    """
    card_file = folder / CARD
    if not card_file.is_file():
        raise WarmStartError(f"There is no published checkpoint in {folder}: train without --from-published.")
    taken = _load(folder, state.model)
    main = max(folder.rglob("*.safetensors"), key=lambda file: file.stat().st_size)
    if main not in taken:
        raise WarmStartError(
            f"{main} does not fit the recipe's network (its settings changed, or it is kept as a difference): "
            "train without --from-published."
        )
    if state.ema is not None:
        state.ema.load_state_dict(state.model.state_dict())
    card = json.loads(card_file.read_text(encoding="utf-8"))
    state.step, state.seconds = card["steps"], 60.0 * card["minutes"]
    return Curve.load(folder / "curve.json")


def _load(folder: Path, model: Any) -> list[Path]:
    """Copy every file all of whose tensors have their places in the model; returns these files.

    What is trained is often a part of the recipe's module, so a tensor's place is the one parameter whose name ends in
    the tensor's and that has its shape. Files of other networks (a pipeline's text encoder) do not fit, and are left.
    """
    import torch
    from safetensors.torch import load_file

    own = model.state_dict()
    taken = []
    for file in sorted(folder.rglob("*.safetensors")):
        tensors = load_file(file)
        places = {name: _place(name, tensor.shape, own) for name, tensor in tensors.items()}
        if any(place is None for place in places.values()):
            continue
        with torch.no_grad():
            for name, place in places.items():
                own[place].copy_(tensors[name])
        taken.append(file)
    return taken


def _place(name: str, shape: Any, own: dict[str, Any]) -> str | None:
    """The parameter or buffer that a stored tensor belongs to; None where there is none, or more than one."""
    found = [key for key, value in own.items() if value.shape == shape and f".{key}".endswith(f".{name}")]
    return found[0] if len(found) == 1 else None
