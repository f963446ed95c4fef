"""Runs the calls of one plan as their inputs are there, and turns what comes back into observations."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic import ValidationError

from gateway.errors import BadImage, StateUnavailable
from gateway.orchestrator.planned import FromAction, PlannedCall
from gateway.orchestrator.produced import mask_handle, produced_symbols
from gateway.orchestrator.references import Reference, part_of, substituted
from gateway.ports import CallContext, ImageStore, SkillClient, SkillOutcome
from gateway.settings import GatewaySettings
from planner.conversation import Observation
from planner.prompt import compact_json
from services.core.errors import DeadlineExceeded, SkillError, SkillFailed, SkillUnavailable
from services.core.masks import BadMaskCode
from services.core.spec import SkillSpec, Symbol


class InputMissing(SkillError):
    """What the call was to work on could not be had: the call that makes it failed, or found nothing."""

    kind = "input_missing"


@dataclass(frozen=True, slots=True)
class CallResult:
    """How one action ended: `outcome`, its `result` and what it `produced` for the session, or `error`.

    `args` are as they were called with, or as written where they could not be; `images` are handles by symbol.
    """

    skill: str
    args: dict[str, Any]
    elapsed_ms: float
    observation: Observation
    images: Mapping[Symbol, str] = field(default_factory=dict)
    outcome: SkillOutcome | None = None
    error: dict[str, Any] | None = None
    produced: Mapping[Symbol, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(8)}")

    @property
    def result(self) -> dict[str, Any] | None:
        return self.outcome.result if self.outcome else None

    @property
    def cached(self) -> bool:
        return self.outcome is not None and self.outcome.cached

    def record(self) -> dict[str, Any]:
        """For `debug` and replay."""
        record: dict[str, Any] = {"id": self.id, "skill": self.skill, "args": self.args}
        record["elapsed_ms"] = round(self.elapsed_ms, 2)
        record["images"] = {str(symbol): handle for symbol, handle in self.images.items()}
        if self.outcome is not None:
            record |= {
                "result": self.outcome.result,
                "checkpoint": self.outcome.checkpoint,
                "cached": self.outcome.cached,
                "compute_ms": round(self.outcome.compute_ms, 2),
            }
        else:
            record |= {"error": self.error}
        return record


class SkillRunner:
    """Runs plans: up to `turn_parallel_max` calls at the same time, each when what it needs is there."""

    def __init__(self, skills: SkillClient, images: ImageStore, settings: GatewaySettings) -> None:
        self._skills = skills
        self._images = images
        self._settings = settings
        self._log = structlog.get_logger("gateway.orchestrator")

    async def run(self, plan: Sequence[PlannedCall], context: CallContext) -> Sequence[CallResult]:
        """One result a call, in order. Errors are results too: the planner is told.

        Args:
            context: of all calls; its deadline leaves the planner time to put the results into words.
        """
        slots = asyncio.Semaphore(self._settings.turn_parallel_max)
        tasks: list[asyncio.Task[CallResult]] = []
        started = asyncio.Event()

        async def one(call: PlannedCall) -> CallResult:
            await started.wait()
            earlier = {index: await tasks[index] for index in sorted(call.needs)}
            async with AsyncExitStack() as stack:
                if call.error is None:
                    await stack.enter_async_context(slots)
                return await self._run_one(call, earlier, context)

        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(one(call)) for call in plan]
            started.set()
        return [task.result() for task in tasks]

    async def _run_one(self, call: PlannedCall, earlier: Mapping[int, CallResult], context: CallContext) -> CallResult:
        begun = time.perf_counter()
        args, images = dict(call.params), dict[Symbol, str]()
        try:
            if call.error is not None:
                raise call.error
            assert call.spec is not None, "a call without a spec has an error"
            _refuse_after_failure(call, earlier)
            if not context.remaining_s:
                raise DeadlineExceeded(f"{call.name} was not run: the turn's time for calls is over.")
            args = _arguments(call, earlier)
            with _stores_errors(call.name):
                images = await self._inputs(call, earlier, context)
                outcome = await self._answered(call.spec, args, images, self._limited(context))
                content, produced = await self._read(
                    call.spec, outcome, _call_of(outcome, args, images, context), context
                )
        except Exception as caught:  # noqa: BLE001 - the edge of one call: the others go on
            error = self._as_failure(call, caught, context)
            observation = Observation(skill=call.name, content={"error": error.message}, failed=True)
            return CallResult(call.name, args, _ms_since(begun), observation, images, error=error.to_wire())
        observation = Observation(skill=call.name, content=content)
        return CallResult(call.name, args, _ms_since(begun), observation, images, outcome=outcome, produced=produced)

    def _as_failure(self, call: PlannedCall, error: Exception, context: CallContext) -> SkillError:
        if isinstance(error, SkillError):
            return error
        self._log.error("skill_call_broke", skill=call.name, request_id=context.request_id, exc_info=error)
        return SkillFailed(f"{call.name} failed.")

    async def _read(
        self, spec: SkillSpec, outcome: SkillOutcome, made_by: Mapping[str, Any], context: CallContext
    ) -> tuple[dict[str, Any], dict[Symbol, str]]:
        """What the planner is told of a result, and what the session gets of it."""
        try:
            result = spec.result_model.model_validate(outcome.result)
            produced = await produced_symbols(spec, outcome, self._images, owner=context.owner, call=made_by)
        except (ValidationError, BadMaskCode):
            raise SkillFailed(f"{spec.name} gave a result that is not of its own form.") from None
        return result.observation(brief=self._settings.planner_brief), produced

    async def _answered(
        self, spec: SkillSpec, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        try:
            async with asyncio.timeout(context.remaining_s):
                return await self._skills.call(spec.name, args, images, context)
        except TimeoutError:
            raise DeadlineExceeded(f"{spec.name} did not answer in time.") from None

    async def _inputs(
        self, call: PlannedCall, earlier: Mapping[int, CallResult], context: CallContext
    ) -> dict[Symbol, str]:
        found: dict[Symbol, str] = {}
        for symbol, given in call.inputs.items():
            if isinstance(given, str):
                found[symbol] = given
            elif isinstance(given, FromAction):
                found[symbol] = _made(earlier[given.index], given)
            else:
                value = _looked_up(call, earlier, given)
                found[symbol] = await self._handle(value, given, _origin(call, earlier, given, context), context)
        return found

    async def _handle(self, value: Any, found: Reference, made_by: Mapping[str, Any], context: CallContext) -> str:
        """The picture that a part of a result is; masks are stored as one, their union."""
        if isinstance(value, str):
            return value
        masks = value if isinstance(value, list) else [value]
        if not masks:
            raise InputMissing(f"{found} is empty: nothing was found there.")
        lineage = {**made_by, "field": str(found.path[0]), "reference": str(found)}
        try:
            return await mask_handle(masks, self._images, owner=context.owner, lineage=lineage)
        except BadMaskCode:
            raise InputMissing(f"{found} is not a mask that can be read.") from None

    def _limited(self, context: CallContext) -> CallContext:
        deadline = min(context.deadline, time.time() + self._settings.tool_deadline_s)
        return replace(context, deadline=deadline)


@contextmanager
def _stores_errors(skill: str) -> Iterator[None]:
    """A store that is away, or takes no more, fails the call that needs it, and not the turn."""
    try:
        yield
    except StateUnavailable as error:
        raise SkillUnavailable(f"{skill}: the store of pictures does not answer. Try again.") from error
    except BadImage as error:
        raise SkillFailed(f"{skill} gave what cannot be stored: {error.message}") from error


def in_plain_words(result: CallResult) -> str:
    """One result for a person to read, where the planner wrote no answer."""
    content = result.observation.content
    words = "\n".join(value if isinstance(value, str) else compact_json(value) for value in content.values())
    return f"{result.skill}: {words}"


def _refuse_after_failure(call: PlannedCall, earlier: Mapping[int, CallResult]) -> None:
    for index, result in earlier.items():
        if result.error is not None:
            raise InputMissing(f"{call.name} was not run: it needs action {index + 1} ({result.skill}), which failed.")


def _arguments(call: PlannedCall, earlier: Mapping[int, CallResult]) -> dict[str, Any]:
    """The arguments with every reference replaced by what it means."""
    args = {}
    for name, value in call.args.items():
        found = substituted(value, lambda reference: _looked_up(call, earlier, reference))
        how = call.fits.get(name)
        args[name] = how.apply(found) if how else found
    return args


def _looked_up(call: PlannedCall, earlier: Mapping[int, CallResult], found: Reference) -> Any:
    source = call.sources[found]
    result = earlier[source.index].result if source.index is not None else source.result
    return part_of(result, found)


def _origin(
    call: PlannedCall, earlier: Mapping[int, CallResult], found: Reference, context: CallContext
) -> Mapping[str, Any]:
    """The call whose result a reference is about, for the lineage of what is made of it."""
    source = call.sources[found]
    if source.index is None:
        return source.made_by
    made = earlier[source.index]
    assert made.outcome is not None, "a reference to a call that failed is refused before"
    return _call_of(made.outcome, made.args, made.images, context)


def _call_of(
    outcome: SkillOutcome, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
) -> dict[str, Any]:
    """A call as pictures made of its result remember it."""
    return {
        "skill": outcome.skill,
        "checkpoint": outcome.checkpoint,
        "args": dict(args),
        "images": {str(symbol): handle for symbol, handle in images.items()},
        "request_id": context.request_id,
    }


def _made(result: CallResult, wanted: FromAction) -> str:
    if wanted.symbol not in result.produced:
        what = str(wanted.symbol).replace("_", " ")
        raise InputMissing(f"Action {wanted.index + 1} ({result.skill}) found nothing: there is no {what} to work on.")
    return result.produced[wanted.symbol]


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
