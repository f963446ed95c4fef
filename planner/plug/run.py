"""The whole way of a new skill into a planner: data, adapter, score."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.data.embedded import generate
from planner.data.released import Sample
from planner.dialects import dialect
from planner.plug.data import Results, SkillData, Split, others, split
from planner.plug.score import Score, greedy, score
from planner.plug.seeds import SeedError, read_seeds
from planner.train.config import ConfigError, TrainConfig
from planner.train.pictures import MADE_UP
from planner.train.recipe import main as train
from planner.train.samples import conversation, json_rows
from services.core.registry import discover
from services.core.spec import SkillSpec

Tell = Callable[[str], None]
SCORED_OTHERS = 20
_RECORD = "plugged.json"


@dataclass(frozen=True)
class PlugOptions:
    """How a skill is plugged in.

    Attributes:
        folder: for the data, the run, the adapter and the score; a run that was cut goes on in it.
        training: a `TrainConfig` as plain data, without what is made here (run, output, data). Its `learned` are the
            profile's `planner.learned`, so that prompts are those of service.
        replay: samples of what the planner knows (JSON lines), beside their pictures; None: the built-in ones.
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
        SeedError: the questions do not fit the skill, or the folder holds what came of others.
        ConfigError: the training cannot be done as configured.
    """
    parts = split(read_seeds(questions, spec), options.seed)
    config = configuration(options, options.folder / "data.jsonl")
    tools = sorted({spec.name, *options.skills, *config.learned})
    known = _known(options)
    _claim(spec, questions, options)
    data = _write_data(spec, parts, tools, known, options, results)
    tell(f"{spec.name}: {len(parts.learned)} questions to learn from, {len(parts.held_out)} held out: {data}")
    if not train(config, tell, extra=(spec,)).finished:
        return None
    made = _score(spec, parts, tools, known, config, options)
    (options.folder / "score.json").write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
    for line in made.lines():
        tell(line)
    return made


def configuration(options: PlugOptions, data: Path) -> TrainConfig:
    """The adapter's training.

    Raises:
        ConfigError: a key is missing, unknown or out of range.
    """
    made = {
        "language": "lora",
        "on_top": True,
        "run": options.folder / "run",
        "output": options.folder / "adapter",
        "data": [{"path": data, "images": options.pictures}],
    }
    try:
        return TrainConfig.model_validate(options.training | made)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")) from None


def _known(options: PlugOptions) -> list[Sample]:
    """What the planner knows, with pictures named so that they are found from anywhere."""
    if options.replay is None:
        return list(generate(options.samples + SCORED_OTHERS, options.seed + 1))
    samples = json_rows(options.replay)
    if len(samples) <= SCORED_OTHERS:
        raise ConfigError(f"{options.replay} has {len(samples)} samples: {SCORED_OTHERS} are kept for the score.")
    folder = options.replay.resolve().parent
    return [_found(sample, folder) for sample in samples]


def _found(sample: Sample, folder: Path) -> Sample:
    names = sample.get("image", [])
    paths = [
        name if name.startswith(MADE_UP) else str(folder / name)
        for name in ([names] if isinstance(names, str) else names)
    ]
    missing = [path for path in paths if not path.startswith(MADE_UP) and not Path(path).is_file()]
    if missing:
        raise ConfigError(f"The picture {missing[0]} of the samples to replay is not there: it belongs beside them.")
    return sample | {"image": paths} if paths else sample


def _claim(spec: SkillSpec, questions: Path, options: PlugOptions) -> None:
    """Go on with what the folder holds only if it came of the same questions, samples and settings.

    Raises:
        SeedError: it came of others: its data and its adapter would be taken for theirs, and scored on questions that
            it has learned.
    """
    parts = {
        "skill": spec.describe(),
        "questions": questions.read_text(encoding="utf-8"),
        "training": options.training,
        "replay": hashlib.sha256(options.replay.read_bytes()).hexdigest() if options.replay else None,
        "pictures": [path.name for path in _pictures(options.pictures)],
        "options": [options.samples, sorted(options.skills), options.seed],
    }
    now = {
        name: hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()
        for name, part in parts.items()
    }
    path = options.folder / _RECORD
    if path.is_file():
        then = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in now if then.get(name) != now[name]]
        if changed:
            raise SeedError(
                f"{options.folder} holds what came of other {', '.join(changed)}: remove it, or name another --folder."
            )
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


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
    skills = [one.name for one in discover().specs()]
    samples += others(known[SCORED_OTHERS:], tools, options.samples, rng, skills)
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
        dialect(config.form, config.learned),
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
    found = [] if folder is None else sorted(path for path in folder.iterdir() if path.suffix.lower() in kinds)
    if folder is not None and not found:
        raise SeedError(f"{folder} has no pictures: it needs files in {', '.join(kinds)}.")
    return found
