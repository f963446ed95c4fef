"""How much more training a figure below its floor would take."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from services.embedded.eval.outlook import outlook, samples_needed
from services.embedded.training.curve import Curve, Point


def curve(*values: float, each: int = 1000) -> Curve:
    """A point every `each` samples."""
    return Curve([Point(n, each * n, float(n), {}, {"f1": value}) for n, value in enumerate(values, 1)])


def rising(count: int = 12) -> Curve:
    """A tenth for every doubling of the samples."""
    return curve(*(0.1 * math.log2(n) for n in range(1, count + 1)))


def test_the_slope_over_the_logarithm_of_samples_goes_on() -> None:
    needed = samples_needed(rising(), "f1", goal=0.1 * math.log2(24))
    assert needed == pytest.approx(24_000, rel=1e-3)


def test_what_the_slope_cannot_tell_is_not_told() -> None:
    assert samples_needed(rising(), "f1", goal=0.9) is None, "43 times the samples"
    assert samples_needed(rising(), "iou", goal=0.4) is None, "training does not measure it"
    assert samples_needed(curve(*[0.5] * 9), "f1", goal=0.6) is None, "it does not rise"
    assert samples_needed(curve(0.1, 0.2), "f1", goal=0.3) is None, "two points are no curve"
    assert samples_needed(Curve(), "f1", goal=0.3) is None


def test_it_is_said_in_samples_and_minutes(tmp_path: Path) -> None:
    rising().save(tmp_path / "curve.json")
    (tmp_path / "model_card.json").write_text(json.dumps({"samples": 12_000, "minutes": 12.0}))
    assert outlook(tmp_path, "f1", 0.1 * math.log2(24)) == "24 thousand samples, 24 minutes in all"
    assert outlook(tmp_path, "f1", 0.2) == "little more: it is there on the development scenes"
    assert outlook(tmp_path, "f1", 0.99) == "not by more of the same training"
