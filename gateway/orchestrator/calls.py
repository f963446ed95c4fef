"""Runs the actions of one plan, and turns what comes back into observations for the planner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.orchestrator.produced import produced_symbols
from gateway.ports import CallContext, ImageStore, SkillClient, SkillOutcome
from gateway.settings import GatewaySettings
from planner.conversation import Observation
from planner.format import Action
from planner.prompt import compact_json
from services.core.errors import BadArguments, SkillError
from services.core.spec import SkillSpec, Symbol

_WANTED = {
    Symbol.IMAGE: "a picture and the conversation has none: ask for one",
    Symbol.MASK: "a mask and the conversation has none: call a tool that finds one first",
    Symbol.IMAGE_SEG: "a segmentation map and the conversation has none: call a tool that makes one first",
    Symbol.REFERENCE_IMAGE: "a reference picture and the conversation has none",
    Symbol.REFERENCE_MASK: "a reference mask and the conversation has none",
}


@dataclass(frozen=True, slots=True)
class CallResult:
    """How one action ended: `outcome`, its `result` and what it `produced` for the session, or `error`."""

    skill: str
    args: dict[str, Any]
    elapsed_ms: float
    observation: Observation
    outcome: SkillOutcome | None = None
    error: dict[str, Any] | None = None
    produced: Mapping[Symbol, str] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any] | None:
        return self.outcome.result if self.outcome else None

    def record(self) -> dict[str, Any]:
        """For `debug` and replay."""
        record: dict[str, Any] = {"skill": self.skill, "args": self.args, "elapsed_ms": round(self.elapsed_ms, 2)}
        if self.outcome is not None:
            record |= {
                "result": self.outcome.result,
                "checkpoint": self.outcome.checkpoint,
                "compute_ms": round(self.outcome.compute_ms, 2),
            }
        else:
            record |= {"error": self.error}
        return record


class SkillRunner:
    """Runs independent actions at the same time."""

    def __init__(self, skills: SkillClient, images: ImageStore, settings: GatewaySettings) -> None:
        self._skills = skills
        self._images = images
        self._settings = settings

    async def run(
        self, actions: Sequence[Action], symbols: Mapping[Symbol, str], context: CallContext
    ) -> Sequence[CallResult]:
        """One result an action, in order. Errors are results too: the planner is told.

        Args:
            symbols: handles of what the session has, which skills are given as they ask for it.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run_one(action, symbols, context)) for action in actions]
        return [task.result() for task in tasks]

    async def _run_one(self, action: Action, symbols: Mapping[Symbol, str], context: CallContext) -> CallResult:
        started = time.perf_counter()
        name = action.API_name
        args = dict(action.API_params)
        try:
            spec = self._skills.resolve(name)
            name = spec.name
            outcome = await self._skills.call(name, args, _inputs(spec, symbols), self._limited(context))
        except SkillError as error:
            observation = Observation(skill=name, content={"error": error.message}, failed=True)
            return CallResult(name, args, _ms_since(started), observation, error=error.to_wire())
        content = spec.result_model.model_validate(outcome.result).observation(brief=self._settings.planner_brief)
        observation = Observation(skill=name, content=content)
        elapsed_ms = _ms_since(started)
        produced = await produced_symbols(spec, outcome, self._images, owner=context.owner)
        return CallResult(name, args, elapsed_ms, observation, outcome=outcome, produced=produced)

    def _limited(self, context: CallContext) -> CallContext:
        deadline = min(context.deadline, time.time() + self._settings.tool_deadline_s)
        return CallContext(context.request_id, context.owner, deadline)


def in_plain_words(result: CallResult) -> str:
    """One result for a person to read, where the planner wrote no answer."""
    content = result.observation.content
    words = "\n".join(value if isinstance(value, str) else compact_json(value) for value in content.values())
    return f"{result.skill}: {words}"


def _inputs(spec: SkillSpec, symbols: Mapping[Symbol, str]) -> dict[Symbol, str]:
    for symbol in sorted(spec.consumes):
        if symbol not in symbols:
            raise BadArguments(f"{spec.name} needs {_WANTED[symbol]}.", argument=str(symbol))
    return {symbol: symbols[symbol] for symbol in spec.consumes}


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
