"""What a person sees of a run: the loss, how often choices are right, the time left; and its curve."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One point of the training curve; `choice_right` is None where nothing was chosen."""

    step: int
    samples: int
    loss: float
    choice_right: float | None
    minutes: float


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Tells of every point of the curve, and stops a run, with a checkpoint, when its time is up or it is told to.

    Args:
        samples_at: samples seen after that many steps.
        minutes: the most that this run may take; None for no limit.
    """

    def __init__(self, tell: Tell, samples_at: Callable[[int], int], minutes: float | None) -> None:
        self._tell = tell
        self._samples_at = samples_at
        self._minutes = minutes
        self._begun = 0.0
        self._first_step = 0
        self._earlier = 0.0
        self.stopped = False

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Within it, SIGTERM and SIGINT end the run after the step that runs."""
        earlier = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun = time.monotonic()
        self._first_step = state.global_step
        self._earlier = max((entry.get("minutes", 0.0) for entry in state.log_history), default=0.0)
        if state.global_step:
            self._tell(f"going on from step {state.global_step} of {state.max_steps}")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._minutes is not None and (time.monotonic() - self._begun) / 60 >= self._minutes:
            self.stopped = True
        if self.stopped and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        entry = state.log_history[-1]
        if "loss" not in entry:
            return
        spent = (time.monotonic() - self._begun) / 60
        entry |= {"minutes": round(self._earlier + spent, 2), "samples": self._samples_at(state.global_step)}
        done = max(state.global_step - self._first_step, 1)
        left = spent / done * (state.max_steps - state.global_step)
        right = "" if entry.get("choice_right") is None else f" choice {entry['choice_right']:.3f}"
        step = f"step {state.global_step}/{state.max_steps}"
        self._tell(f"{step} loss {entry['loss']:.4f}{right} rate {entry['learning_rate']:.1e} left {_time(left)}")

    def _stop(self, *_: object) -> None:
        self.stopped = True


def curve(log_history: Sequence[dict[str, Any]]) -> list[Point]:
    """The points of a trainer's history."""
    return [
        Point(entry["step"], entry["samples"], round(entry["loss"], 4), entry.get("choice_right"), entry["minutes"])
        for entry in log_history
        if "loss" in entry and "minutes" in entry
    ]


def save_curve(points: Sequence[Point], folder: Path) -> None:
    """Write `curve.json` and `curve.png`: loss, and how often a plan's choices are right."""
    import matplotlib

    text = json.dumps([asdict(point) for point in points])
    (folder / "curve.json").write_text(text.replace("}, ", "},\n ") + "\n", encoding="utf-8")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, loss_axis = pyplot.subplots(figsize=(7, 4))
    loss_axis.plot([point.samples for point in points], [point.loss for point in points], color="tab:blue")
    loss_axis.set_xlabel("samples")
    loss_axis.set_ylabel("loss", color="tab:blue")
    loss_axis.set_yscale("log")
    chosen = [(point.samples, point.choice_right) for point in points if point.choice_right is not None]
    if chosen:
        axis = loss_axis.twinx()
        axis.plot([samples for samples, _ in chosen], [right for _, right in chosen], color="tab:orange")
        axis.set_ylabel("choices right (training samples)", color="tab:orange")
    figure.tight_layout()
    figure.savefig(folder / "curve.png", dpi=90)
    pyplot.close(figure)


def _time(minutes: float) -> str:
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
