"""The whole way of a new skill into a planner: data, adapter, score."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner.data.embedded import generate
from planner.data.released import Sample
from planner.dialects import dialect
from planner.plug.data import Results, SkillData, Split, others, split
from planner.plug.score import Score, greedy, score
from planner.plug.seeds import read_seeds
from planner.train.config import TrainConfig
from planner.train.recipe import main as train
from planner.train.samples import conversation
from services.core.registry import discover
from services.core.spec import SkillSpec

Tell = Callable[[str], None]
SCORED_OTHERS = 20


@dataclass(frozen=True)
class PlugOptions:
    """How a skill is plugged in.

    Attributes:
        folder: for the data, the run, the adapter and the score; a run that was cut goes on in it.
        training: a `TrainConfig` as plain data, without what is made here (run, output, data).
        replay: samples of what the planner knows (JSON lines); None: the built-in ones.
        samples: of the new skill; as many others are added.
        pictures: folder of pictures for the questions.
        skills: further skills that prompts list.
    """

    folder: Path
    training: dict[str, Any]
    replay: Path | None = None
    samples: int = 400
    pictures: Path | None = None
    skills: tuple[str, ...] = ()
    seed: int = 7


def plug(
    spec: SkillSpec, questions: Path, options: PlugOptions, tell: Tell, results: Results | None = None
) -> Score | None:
    """Build data, train an adapter into `options.folder / "adapter"` and score it.

    Args:
        results: runs the skill, for answers.

    Returns:
        The score, also in `score.json`; None where the training was stopped before its end.

    Raises:
        SeedError: the questions do not fit the skill.
        ConfigError: the training cannot be done as configured.
    """
    parts = split(read_seeds(questions, spec), options.seed)
    tools = sorted({spec.name, *options.skills})
    known = _known(options)
    data = _write_data(spec, parts, tools, known, options, results)
    tell(f"{spec.name}: {len(parts.learned)} questions to learn from, {len(parts.held_out)} held out: {data}")
    config = configuration(options, data)
    if not train(config, tell, extra=(spec,)).finished:
        return None
    made = _score(spec, parts, tools, known, config, options)
    (options.folder / "score.json").write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    for line in made.lines():
        tell(line)
    return made


def configuration(options: PlugOptions, data: Path) -> TrainConfig:
    """The adapter's training."""
    made = {
        "language": "lora",
        "on_top": True,
        "run": options.folder / "run",
        "output": options.folder / "adapter",
        "data": [{"path": data, "images": options.pictures}],
    }
    return TrainConfig.model_validate(options.training | made)


def _known(options: PlugOptions) -> list[Sample]:
    if options.replay is None:
        return list(generate(options.samples + SCORED_OTHERS, options.seed + 1))
    return [json.loads(line) for line in options.replay.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write_data(
    spec: SkillSpec,
    parts: Split,
    tools: Sequence[str],
    known: Sequence[Sample],
    options: PlugOptions,
    results: Results | None,
) -> Path:
    """`data.jsonl`: the seeds in turn, then as many others; written whole or not at all."""
    path = options.folder / "data.jsonl"
    if path.is_file():
        return path
    rng = random.Random(options.seed)
    made = SkillData(spec, tools, rng, _pictures(options.pictures), results)
    samples = [
        made.sample(f"{spec.name}_{number:05}", parts.learned[number % len(parts.learned)])
        for number in range(options.samples)
    ]
    samples += others(known[SCORED_OTHERS:], tools, options.samples, rng)
    options.folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
    temporary.replace(path)
    return path


def _score(
    spec: SkillSpec,
    parts: Split,
    tools: Sequence[str],
    known: Sequence[Sample],
    config: TrainConfig,
    options: PlugOptions,
) -> Score:
    """On held-out wordings, and on others that were not learned; the adapter as it was written."""
    from planner.train.models import Base, load
    from planner.train.pictures import Pictures

    base = load(config)
    base = Base(_adapted(base.model, config.output), base.processor)
    pictures = Pictures(base.processor.image_processor, base.side)
    asking = SkillData(spec, tools, random.Random(options.seed + 2), _pictures(options.pictures))
    specs = {one.name: one for one in (*discover().specs(), spec)}
    return score(
        greedy(base, lambda name: pictures.load(name, options.pictures)),
        dialect(config.form),
        spec.name,
        [specs[name] for name in tools],
        [asking.conversation(seed, plain=True) for seed in parts.held_out],
        [conversation(sample) for sample in known[:SCORED_OTHERS]],
    )


def _adapted(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).eval()


def _pictures(folder: Path | None) -> list[Path]:
    kinds = (".png", ".jpg", ".jpeg", ".webp")
    return [] if folder is None else sorted(path for path in folder.iterdir() if path.suffix.lower() in kinds)
