"""The training loop: one for all recipes.

A run is a folder: `state.pt` to go on from, `curve.json` and `curve.png`, `samples.png`, and the
checkpoint in `checkpoint/`. A run that is started again goes on where it was.
"""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.embedded.alone import alone
from services.embedded.training.curve import Curve, Point
from services.embedded.training.errors import RunError
from services.embedded.training.recipe import Recipe
from services.embedded.training.state import RunState
from services.embedded.training.warm_start import RISE_STEPS, WarmStartError, start_from

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is run, as against what it trains.

    Attributes:
        device: torch device.
        workers: loader processes.
        minutes: training time after which the run ends, its learning rate having fallen by then; what earlier parts of
            the run took counts. None for all steps.
        evaluations: how often figures are taken over the whole run.
        save_every_s: seconds between two saved states.
        start: folder of the published checkpoint that a run without a state goes on from; None for fresh weights.
    """

    device: str = "cpu"
    workers: int = 1
    minutes: float | None = None
    evaluations: int = 12
    save_every_s: float = 180.0
    start: Path | None = None


class Run:
    """One run of a recipe in a folder.

    Args:
        report: is given a line of progress now and then.
    """

    def __init__(self, recipe: Recipe[Any], folder: Path, options: RunOptions, report: Report) -> None:
        self.recipe = recipe
        self.folder = folder
        self.options = options
        self.report = report
        self.curve = Curve.load(folder / "curve.json")
        self._stopping = False
        self._warm_from: int | None = None

    def train(self) -> dict[str, float] | None:
        """Train to the end, or until interrupted (SIGINT, SIGTERM): the state is saved then, too.

        Returns:
            The last figures, or None after an interruption.

        Raises:
            RunError: the state, or the checkpoint to start from, does not fit or cannot be read, or has had all of the
                steps or minutes asked for; or another process trains in the folder.
            FloatingPointError: the loss is not a number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        busy = f"Another process trains in {self.folder}: wait for it, or give another folder with --runs."
        with alone(self.folder, RunError(busy)):
            return self._train()

    def _train(self) -> dict[str, float] | None:
        import torch

        torch.manual_seed(self.recipe.config.seed)
        # Gradients of a young network are full of subnormal numbers, which a CPU multiplies ten times slower.
        for kind in (np.float32, np.float64):
            np.finfo(kind)  # NumPy looks for subnormals once, and warns where there are none
        torch.set_flush_denormal(True)
        state = self._fresh_state()
        self._go_on(state)
        losses: dict[str, float] = {}
        if self._progress(state) >= 1.0:
            self.report(f"{self.recipe.name}: the run has ended: more --minutes, or --set steps=NUMBER, let it go on")
        else:
            with self._interruptible():
                losses = self._steps(state)
            state.save(self.folder / "state.pt")
        if self._stopping:
            self.report(f"{self.recipe.name}: interrupted at step {state.step}; run again to go on")
            return None
        figures = self._score(state, losses)
        self.recipe.save(self._scored_model(state), self.folder / "checkpoint")
        return figures

    def _go_on(self, state: RunState) -> None:
        """Fill a fresh state from the run's own, or from the published checkpoint where that is asked for."""
        name = self.recipe.name
        if state.load(self.folder / "state.pt"):
            self.report(f"{name}: going on from step {state.step} after {state.seconds / 60:.0f} min")
        elif self.options.start is not None:
            self.curve = start_from(self.options.start, self.recipe, state)
            self._warm_from = state.step
            so_far = f"step {state.step} after {state.seconds / 60:.0f} min"
            if self._progress(state) >= 1.0:
                raise WarmStartError(
                    f"The published {name} is at {so_far}, which count: give more --minutes, or --set steps=NUMBER."
                )
            self.report(f"{name}: going on from the published checkpoint, {so_far}")
        self.curve.points = [point for point in self.curve.points if point.step <= state.step]

    def _fresh_state(self) -> RunState:
        import torch

        config = self.recipe.config
        model = self.recipe.build().to(self.options.device)
        groups = self.recipe.parameters(model)
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
        ema = copy.deepcopy(model).requires_grad_(False) if config.ema else None
        return RunState(model, optimizer, ema)

    def _steps(self, state: RunState) -> dict[str, float]:
        """Train; returns the mean losses since the last figures."""
        evaluate_at = self._evaluation_points(state)
        saved = reported = started = time.monotonic()
        before = state.seconds
        first = state.step
        sums: dict[str, float] = {}
        count = 0
        for batch in self._batches(state.step):
            losses = self._step(state, batch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            state.step += 1
            now = time.monotonic()
            state.seconds = before + now - started
            if not math.isfinite(losses["loss"]):
                raise FloatingPointError(f"{self.recipe.name}: the loss is {losses['loss']} at step {state.step}.")
            if now - reported > 20:
                reported = now
                self._report_progress(state, sums, count, (state.step - first) / (now - started))
            if self._stopping or self._progress(state) >= 1.0:
                break
            if evaluate_at and self._progress(state) >= evaluate_at[0]:
                evaluate_at = self._evaluation_points(state)
                self._score(state, {name: value / count for name, value in sums.items()})
                sums, count = {}, 0
                # Figures cost time that is not training's.
                started += time.monotonic() - now
            if now - saved > self.options.save_every_s:
                saved = now
                state.save(self.folder / "state.pt")
        return {name: value / count for name, value in sums.items()}

    def _step(self, state: RunState, batch: dict[str, Any]) -> dict[str, float]:
        import torch

        from services.embedded.training.precision import attention_for_training

        config = self.recipe.config
        rate = schedule(self._progress(state), config.warmup, config.decay)
        if self._warm_from is not None:
            rate *= min(1.0, (state.step - self._warm_from + 1) / RISE_STEPS)
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate
        state.model.train()
        kind = torch.device(self.options.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=config.bf16), attention_for_training(kind, bf16=config.bf16):
            losses = self.recipe.loss(state.model, to_device(batch, self.options.device))
        state.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(
            [parameter for group in state.optimizer.param_groups for parameter in group["params"]], config.clip_norm
        )
        state.optimizer.step()
        if state.ema is not None:
            _average(state.ema, state.model, min(config.ema, (1 + state.step) / (10 + state.step)))
        return {name: float(value.detach()) for name, value in losses.items()}

    def _batches(self, start: int) -> Iterator[dict[str, Any]]:
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                _Batches(self.recipe),
                batch_size=None,
                sampler=range(start, self.recipe.config.steps),
                num_workers=self.options.workers,
                prefetch_factor=3 if self.options.workers else None,
            )
        )

    def _score(self, state: RunState, losses: dict[str, float]) -> dict[str, float]:
        import torch

        model = self._scored_model(state)
        model.eval()
        kind = torch.device(self.options.device).type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=self.recipe.config.bf16):
            figures = self.recipe.evaluate(model)
            shown = self.recipe.samples(model)
        samples = self.curve.samples(state.step, self.recipe.config.batch_size)
        if self.curve.points and self.curve.points[-1].step == state.step:
            losses = losses or self.curve.points[-1].losses
            del self.curve.points[-1]
        self.curve.points.append(Point(state.step, samples, round(state.seconds / 60, 2), losses, figures))
        self.curve.save(self.folder / "curve.json")
        self.curve.plot(self.folder / "curve.png", self.recipe.name)
        if shown is not None:
            shown.save(self.folder / "samples.png")
        text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.report(f"{self.recipe.name}: step {state.step} ({samples:,} samples): {text}")
        return figures

    @staticmethod
    def _scored_model(state: RunState) -> Any:
        return state.ema if state.ema is not None else state.model

    def _progress(self, state: RunState) -> float:
        """Part of the run that is done, 0..1, by steps or by time, whichever is further."""
        by_steps = state.step / self.recipe.config.steps
        by_time = state.seconds / (self.options.minutes * 60) if self.options.minutes else 0.0
        return max(by_steps, by_time)

    def _evaluation_points(self, state: RunState) -> list[float]:
        total = self.options.evaluations
        done = self._progress(state)
        return [part / total for part in range(1, total) if part / total > done]

    def _report_progress(self, state: RunState, sums: dict[str, float], count: int, rate: float) -> None:
        config = self.recipe.config
        left_s = (config.steps - state.step) / max(rate, 1e-9)
        if self.options.minutes:
            left_s = min(left_s, self.options.minutes * 60 - state.seconds)
        losses = ", ".join(f"{name} {value / count:.4f}" for name, value in sums.items())
        self.report(
            f"{self.recipe.name}: step {state.step}/{config.steps}, {rate * config.batch_size:.0f} samples/s, "
            f"{left_s / 60:.1f} min left, {losses}"
        )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the step that is being done."""

        def stop(signum: int, frame: Any) -> None:
            self._stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Batches:
    """A map-style dataset whose items are whole batches: item `step` is the same in every run."""

    def __init__(self, recipe: Recipe[Any]) -> None:
        self._recipe = recipe

    def __len__(self) -> int:
        return int(self._recipe.config.steps)

    def __getitem__(self, step: int) -> dict[str, Any]:
        import torch

        # Loader processes leave the cores to the model.
        torch.set_num_threads(1)
        return self._recipe.batch(np.random.default_rng([self._recipe.config.seed, step]))


def schedule(progress: float, warmup: float, decay: float) -> float:
    """Factor of the learning rate, 0..1: a linear rise, a plateau, and half a cosine down to zero."""
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    if progress < 1.0 - decay:
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - (1.0 - decay)) / decay)))


def to_device(value: Any, device: str) -> Any:
    """Tensors inside dicts and lists moved to `device`; everything else as it is."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [to_device(item, device) for item in value]
    return value


def _average(ema: Any, model: Any, decay: float) -> None:
    import torch

    with torch.no_grad():
        for kept, now in zip(ema.state_dict().values(), model.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(now, 1.0 - decay)
            else:
                kept.copy_(now)
