"""The plan behind an answer, as lines for `--debug`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deploy.cli.results import clean
from llava_plus import Step, StepCall

ARGUMENTS_CHARS_MAX = 160


def step_lines(step: Step) -> Iterator[str]:
    """The planner's thoughts, then each call with its time and what became of it."""
    if step.kind == "plan":
        thoughts = clean(step.thoughts).strip() or "(no thoughts)"
        yield f"  plan, {_seconds(step.planner_ms)}: {thoughts}"
    else:
        yield f"  before the plan, {_seconds(step.skills_ms)}:"
    for call in step.results:
        yield f"    {call.skill}({_arguments(call)}), {_seconds(call.elapsed_ms)}: {_outcome(call)}"


def _arguments(call: StepCall) -> str:
    text = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.args.items())
    return clean(text if len(text) <= ARGUMENTS_CHARS_MAX else text[:ARGUMENTS_CHARS_MAX] + "...")


def _outcome(call: StepCall) -> str:
    if call.error is not None:
        return f"failed: {clean(str(call.error.get('message', call.error)))}"
    kept = "cached, " if call.cached else ""
    counts = [f"{len(value)} {name}" for name, value in (call.result or {}).items() if isinstance(value, list)]
    return kept + (", ".join(counts) or "done")


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s"
