"""One call from a configuration to weights, with the training curve."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planner.train.config import EMBEDDED, ConfigError, TrainConfig
from planner.train.dataset import PlannedBatches
from planner.train.encode import Encoder
from planner.train.forms import form_named
from planner.train.pictures import Pictures
from planner.train.resume import claim
from planner.train.samples import load as load_samples
from planner.train.samples import read_observations
from services.core.registry import discover
from services.core.spec import SkillSpec


@dataclass(frozen=True)
class Outcome:
    """What came of a run: all steps, or those until it was stopped."""

    steps: int
    total: int

    @property
    def finished(self) -> bool:
        return self.steps >= self.total


def main(
    config: TrainConfig,
    tell: Callable[[str], None],
    *,
    minutes: float | None = None,
    extra: tuple[SkillSpec, ...] = (),
) -> Outcome:
    """Train as configured. A run that was cut is continued; delete its `run` folder to start afresh.

    Args:
        tell: is given lines for the person who waits.
        minutes: stop, resumable, after this time.
        extra: skills that are not registered, which samples or the configuration name.

    Raises:
        ConfigError: what the configuration names is not there or does not fit, or its `run` was begun with other
            samples or settings.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers

    from planner.train.export import export
    from planner.train.loop import arguments, last_checkpoint, trainer
    from planner.train.models import compile_layers, counts, load, prepare
    from planner.train.progress import Progress, curve, save_curve

    transformers.logging.set_verbosity_error()
    transformers.set_seed(config.seed)
    if config.model == EMBEDDED:
        from planner.train.vision import initialise_vision

        assert config.weights is not None
        initialise_vision(config.weights, config.seed, config.tower)
    args = arguments(config)
    base = load(config)
    batches = planned(base, config, extra)
    if not len(batches):
        raise ConfigError(f"No sample fits into {max(config.lengths)} tokens: raise `lengths`.")
    checkpoint = last_checkpoint(config.run)
    claim(config, batches.plan, resumed=checkpoint is not None, first=os.environ.get("RANK", "0") == "0")
    base = prepare(base, config)
    whole, trained = counts(base.model)
    samples = batches.samples_until(len(batches))
    tell(f"{whole / 1e6:.1f}M parameters, {trained / 1e6:.1f}M of them trained, on {samples} samples")
    if batches.left_out:
        tell(
            f"{batches.left_out} samples are left out: longer than {max(config.lengths)} tokens, without an answer, or "
            "`without` tools that the configuration does not name"
        )
    if config.compile:
        compile_layers(base.model, len(config.lengths))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    per_step = world * config.accumulation
    callback = Progress(tell, lambda step: batches.samples_until(step * per_step), minutes)
    made = trainer(base.model, batches, args, callback)
    with callback.stopping_on_signals():
        made.train(resume_from_checkpoint=checkpoint)
    outcome = Outcome(made.state.global_step, made.state.max_steps)
    if not outcome.finished:
        tell(f"stopped after step {outcome.steps} of {outcome.total}: the same command goes on")
        return outcome
    export(base, made, config)
    if made.is_world_process_zero():
        save_curve(curve(made.state.log_history), config.output)
        tell(f"written: {config.output}")
    return outcome


def planned(base: Any, config: TrainConfig, extra: tuple[SkillSpec, ...] = ()) -> PlannedBatches:
    """The run's batches for a model.

    Raises:
        ConfigError: see `PlannedBatches`; or the configuration names a skill that there is not.
    """
    registry = discover()
    specs = {spec.name: spec for spec in (*registry.specs(), *extra)}
    unknown = [name for name in config.offered if name not in specs]
    if unknown:
        raise ConfigError(
            f"`learned` or `skills`: there is no skill {unknown[0]!r}. Known: {', '.join(sorted(specs))}."
        )
    encoder = Encoder(
        base.tokenizer,
        form_named(config.form, config.learned),
        [specs[name] for name in config.offered],
        base.picture_tokens,
        config.choice_weight,
    )
    pad = base.tokenizer.pad_token_id
    return PlannedBatches(
        config,
        load_samples(config.data, config.seed),
        encoder,
        Pictures(base.processor.image_processor, base.side),
        specs,
        read_observations(config.observations),
        pad_id=base.tokenizer.eos_token_id if pad is None else pad,
        image_id=base.image_id,
        picture_tokens=base.picture_tokens,
        always_picture=int(os.environ.get("WORLD_SIZE", "1")) > 1,
    )
