"""How fast a skill is, and how much memory it takes, by batch size: the skill alone, without Ray and gateway.

`python -m benchmarks.skills --skill sam --checkpoint embedded:sam --batch 1,4,16` prints a table and writes
benchmarks/results/skill_NAME.json. Composites take `--checkpoint PART=CHECKPOINT` for each part.

`--config-folder` measures an architecture without its weights: random ones are made for the configuration files in a
folder (config.json, or a diffusers pipeline's model_index.json; tokenizer and processor files beside them).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.random_weights import with_random_weights
from benchmarks.running import RESULTS
from services.core.composite import Composite, LocalParts
from services.core.errors import SkillError
from services.core.loading import load_skill
from services.core.skill import Skill, SkillCall
from services.core.spec import Symbol

ARGUMENTS: dict[str, dict[str, Any]] = {
    "sam": {"boxes": [[0.2, 0.2, 0.8, 0.8]]},
    "semantic_sam": {"point": [[0.5, 0.5]]},
    "grounding_dino": {"caption": "dog . cat . tree"},
    "grounding_dino+sam": {"caption": "dog . cat . tree"},
}
PROMPT = "a dog on the beach"
PERCENTILE = 95


@dataclass(frozen=True)
class Row:
    """One batch size: calls a second, milliseconds of a batch, and the most memory in use while it was measured."""

    batch: int
    per_second: float
    median_ms: float
    p95_ms: float
    memory_mib: float


Answer = Callable[[Sequence[SkillCall[Any]]], Sequence[Any]]


def main() -> None:
    given = _arguments()
    with ExitStack() as stack:
        answer, spec, loaded_s = _loaded(given, stack)
        args = spec.args_model.model_validate(given.args or _default_args(spec))
        calls = [
            SkillCall(args, {symbol: _picture(symbol, given.size, seed) for symbol in spec.consumes})
            for seed in range(max(given.batch))
        ]
        rows = [_measured(answer, calls[:size], given) for size in given.batch]
    print(f"{spec.name} on {given.device}, {given.size} px, loaded in {loaded_s:.1f} s")
    print(f"{'batch':>6}{'per second':>12}{'median ms':>11}{'p95 ms':>10}{'memory MiB':>12}")
    for row in rows:
        print(f"{row.batch:6}{row.per_second:12.2f}{row.median_ms:11.1f}{row.p95_ms:10.1f}{row.memory_mib:12.0f}")
    report = {
        "skill": spec.name,
        "checkpoint": given.config_folder.name if given.config_folder else " + ".join(given.checkpoint),
        "random_weights": given.config_folder is not None,
        "device": _device_name(given.device),
        "options": given.options,
        "args": args.model_dump(mode="json"),
        "picture_px": given.size,
        "load_s": round(loaded_s, 2),
        "rows": [asdict(row) for row in rows],
    }
    target = given.output or RESULTS / f"skill_{spec.name.replace('+', '_')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skill", required=True, help="name, alias, or module:Class")
    parser.add_argument("--checkpoint", action="append", default=[], help="CHECKPOINT, or PART=CHECKPOINT; repeatable")
    parser.add_argument("--config-folder", type=Path, help="measure random weights of this configuration")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--options", type=json.loads, default={}, help='the skill\'s settings, {"dtype": "bfloat16"}')
    parser.add_argument("--args", type=json.loads, help="the call's arguments, as JSON")
    parser.add_argument("--batch", type=_sizes, default=(1, 4, 16), help="batch sizes, for example 1,4,16")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, pixels")
    parser.add_argument("--seconds", type=float, default=5.0, help="least time for one batch size")
    parser.add_argument("--repeats", type=int, default=5, help="fewest batches of one size")
    parser.add_argument("--threads", type=int, help="torch's threads on a CPU")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    return parser.parse_args()


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


def _loaded(given: argparse.Namespace, stack: ExitStack) -> tuple[Answer, Any, float]:
    """The skill, set up: how it answers a batch, its spec, and how long loading took, seconds."""
    if given.threads:
        import torch

        torch.set_num_threads(given.threads)
    if given.config_folder is not None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="random-weights-")))
        given.checkpoint = [str(with_random_weights(given.config_folder, folder))]
    skill_class = load_skill(given.skill, given.skill if ":" in given.skill else None)
    started = time.perf_counter()
    if issubclass(skill_class, Composite):
        named = dict(item.partition("=")[::2] for item in given.checkpoint)
        skills = [_configured(part, named.get(part.name), given) for part in skill_class.parts]
        parts = LocalParts(skills, max(given.batch))
        parts.load()
        return _together(skill_class(), parts), skill_class.spec(), _since(started)
    skill = _configured(skill_class, given.checkpoint[-1] if given.checkpoint else None, given)
    skill.setup()
    return skill.predict, skill.spec(), _since(started)


def _configured(skill_class: Any, checkpoint: str | None, given: argparse.Namespace) -> Skill[Any, Any]:
    skill: Skill[Any, Any] = skill_class(checkpoint, given.device, **given.options)
    return skill


def _together(composite: Composite[Any, Any], parts: LocalParts) -> Answer:
    async def composed(calls: Sequence[SkillCall[Any]]) -> Sequence[Any]:
        return await asyncio.gather(*(composite.compose(call.args, call.images, parts) for call in calls))

    return lambda calls: asyncio.run(composed(calls))


def _measured(answer: Answer, calls: Sequence[SkillCall[Any]], given: argparse.Namespace) -> Row:
    _checked(answer(calls))  # the first of a size compiles, tunes and allocates
    _forget_peak(given.device)
    times: list[float] = []
    while len(times) < given.repeats or sum(times) < given.seconds:
        started = time.perf_counter()
        answers = answer(calls)
        _settle(given.device)
        times.append(_since(started))
        _checked(answers)
    p95 = float(np.percentile(times, PERCENTILE))
    return Row(
        batch=len(calls),
        per_second=round(len(calls) * len(times) / sum(times), 2),
        median_ms=round(statistics.median(times) * 1e3, 2),
        p95_ms=round(p95 * 1e3, 2),
        memory_mib=round(_peak_bytes(given.device) / 2**20, 1),
    )


def _checked(answers: Sequence[Any]) -> None:
    for answer in answers:
        if isinstance(answer, SkillError):
            raise answer


def _default_args(spec: Any) -> dict[str, Any]:
    if spec.name in ARGUMENTS:
        return ARGUMENTS[spec.name]
    fields = spec.args_model.model_fields
    args: dict[str, Any] = {"seed": 0} if "seed" in fields else {}
    return args | ({"prompt": PROMPT} if "prompt" in fields and fields["prompt"].is_required() else {})


def _picture(symbol: Symbol, side: int, seed: int) -> Image.Image:
    if symbol in (Symbol.MASK, Symbol.REFERENCE_MASK):
        mask = Image.new("RGB", (side, side))
        mask.paste("white", (side // 4, side // 4, side // 2, side // 2))
        return mask
    pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def _forget_peak(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory starts anew


def _settle(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def _peak_bytes(device: str) -> float:
    """On a GPU what torch had allocated at most for this batch size; on a CPU the process's largest resident set."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition("VmHWM:")[2].split()[0]) * 1024


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return device


def _since(started: float) -> float:
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
