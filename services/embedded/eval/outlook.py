"""What a figure below its floor would take: the run's curve drawn on, roughly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

import numpy as np

from services.embedded.training.curve import Curve

LAST: Final = 2 / 3
"""Share of a run's samples, its last, whose points give the slope."""
TIMES_MAX: Final = 10.0
"""Beyond this many times the samples so far the slope says nothing."""


def samples_needed(curve: Curve, figure: str, goal: float) -> int | None:
    """Samples in all at which the run reaches `goal`, if it goes on from its last point with the slope over the
    logarithm of samples that it had of late.

    The end of a run rises faster than its middle, since the learning rate falls there, so this is the least it takes.

    Returns:
        None where too few points have the figure, where it does not rise, or where it would take more than `TIMES_MAX`
        times the samples so far: then more of the same training is not what it lacks.
    """
    points = [(point.samples, point.figures[figure]) for point in curve.points if figure in point.figures]
    if not points:
        return None
    seen = points[-1][0]
    late = [(math.log(samples), value) for samples, value in points if samples >= (1 - LAST) * seen]
    if len({place for place, _ in late}) < 3:
        return None
    slope, _ = np.polyfit([place for place, _ in late], [value for _, value in late], 1)
    if slope <= 0:
        return None
    times = math.exp(min((goal - points[-1][1]) / slope, 60.0))
    return max(round(times * seen), seen) if times <= TIMES_MAX else None


def outlook(folder: Path, figure: str, goal: float) -> str:
    """In words, for a published checkpoint: how many samples and minutes in all the floor would take."""
    curve = Curve.load(folder / "curve.json")
    needed = samples_needed(curve, figure, goal)
    if needed is None:
        return "not by more of the same training"
    if needed == curve.points[-1].samples:
        return "little more: it is there on the development scenes"
    card = json.loads((folder / "model_card.json").read_text(encoding="utf-8"))
    minutes = card["minutes"] * needed / card["samples"]
    return f"{needed / 1000:,.0f} thousand samples, {minutes:.0f} minutes in all"
