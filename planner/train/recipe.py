"""One command from a configuration to committed weights, with the training curve."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from planner.train.config import TrainConfig
from planner.train.lora import Point, Trainer


def main(config_path: Path) -> None:
    """Train as `config_path` says. A run that was cut is continued; delete its `run` folder to start afresh."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    config = TrainConfig.load(config_path)
    curve = Trainer(config, _tell).run()
    points = json.dumps([asdict(point) for point in curve])
    (config.weights / "curve.json").write_text(points.replace("}, ", "},\n ") + "\n", encoding="utf-8")
    plot(curve, config.weights / "curve.png")


def plot(curve: Sequence[Point], path: Path) -> None:
    """The curve as a picture: loss, and how often the choice between call and answer is right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, loss_axis = pyplot.subplots(figsize=(7, 4))
    samples = [point.samples for point in curve]
    loss_axis.plot(samples, [point.loss for point in curve], color="tab:blue")
    loss_axis.set_xlabel("samples")
    loss_axis.set_ylabel("loss", color="tab:blue")
    loss_axis.set_yscale("log")
    choice_axis = loss_axis.twinx()
    choice_axis.plot(samples, [point.choice_right for point in curve], color="tab:orange")
    choice_axis.set_ylabel("choice right (training samples)", color="tab:orange")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _tell(line: str) -> None:
    print(line, flush=True)
