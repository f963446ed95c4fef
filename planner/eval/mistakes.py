"""Mistakes made on purpose, behind the ports of the planner and of the skills: what does one cost?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

from planner.api import Planner, PlannerDelta, PlannerDone, PlannerEvent, PlanRequest
from planner.conversation import UserTurn
from planner.eval.figures import Share, table
from planner.eval.journal import fingerprint
from planner.eval.matching import is_valid
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.context import CallContext
from services.core.errors import SkillFailed, SkillUnavailable
from services.core.spec import SkillSpec

PlanMistake = Literal["other_skill", "unknown_skill", "bad_arguments", "broken_text", "no_call", "needless_call"]
SkillMistake = Literal["fails_once", "fails_always", "unavailable_once", "finds_nothing"]
PLAN_MISTAKES: tuple[PlanMistake, ...] = get_args(PlanMistake)
SKILL_MISTAKES: tuple[SkillMistake, ...] = get_args(SkillMistake)
NO_MISTAKE = "none"


class MistakenPlanner:
    """Implements `planner.api.Planner`: another planner, whose first plan of every turn is spoilt.

    Attributes:
        struck: ids of the requests in which it was; a plan that offers nothing to spoil stays as it is.
    """

    def __init__(self, planner: Planner, kind: PlanMistake) -> None:
        self._planner = planner
        self._kind = kind
        self.struck: set[str] = set()

    @property
    def model(self) -> str:
        return self._planner.model

    async def ready(self) -> bool:
        return await self._planner.ready()

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        """See `planner.api.Planner.plan`."""
        if not isinstance(request.conversation[-1], UserTurn):
            async for event in self._planner.plan(request, context):
                yield event
            return
        done = None
        async for event in self._planner.plan(request, context):
            done = event if isinstance(event, PlannerDone) else done
        assert done is not None, "a planner ends with PlannerDone"
        try:
            spoilt = mistaken(done.output, self._kind, request.tools)
        except UnparsableOutput:
            self.struck.add(context.request_id)
            raise
        if spoilt is not None:
            self.struck.add(context.request_id)
        output = done.output if spoilt is None else spoilt
        if output.is_answer and output.value:
            yield PlannerDelta(output.value)
        yield PlannerDone(output, done.prompt_tokens, done.completion_tokens, done.cut)


def mistaken(output: PlannerOutput, kind: PlanMistake, tools: Sequence[SkillSpec]) -> PlannerOutput | None:
    """The output with a mistake, None where there is nothing to spoil; the same for the same arguments.

    Raises:
        UnparsableOutput: for `broken_text`.
    """
    if kind == "needless_call":
        needless = _other(Action(API_name="none"), tools)
        return output.model_copy(update={"actions": (needless,)}) if output.is_answer and needless else None
    if output.is_answer:
        return None
    if kind == "broken_text":
        raise UnparsableOutput("the reply is not JSON", '{"thoughts": "", "actions": [{"API_name": "')
    if kind == "no_call":
        return PlannerOutput(value="I have looked at the picture.")
    first, *rest = output.actions
    if kind == "other_skill":
        changed = _other(first, tools)
    elif kind == "unknown_skill":
        changed = first.model_copy(update={"API_name": f"{first.API_name}_pro"})
    else:
        changed = first.model_copy(update={"API_params": dict(first.API_params) | {"certainty": "high"}})
    return None if changed is None else output.model_copy(update={"actions": (changed, *rest)})


def _other(action: Action, tools: Sequence[SkillSpec]) -> Action | None:
    """A valid call of another skill, with those of the arguments that fit it."""
    found = []
    for spec in tools:
        if action.API_name in spec.names:
            continue
        fitting = {name: value for name, value in action.API_params.items() if name in spec.args_model.model_fields}
        call = Action(API_name=spec.name, API_params=fitting)
        if is_valid(call, spec):
            found.append(call)
    return found[int(fingerprint(action.model_dump(mode="json")), 16) % len(found)] if found else None


class Skills(Protocol):
    """The gateway's port to skills, as far as it is needed here (`gateway.ports.SkillClient`)."""

    def specs(self) -> Sequence[SkillSpec]: ...

    def resolve(self, name: str) -> SkillSpec: ...

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Any, str], context: CallContext
    ) -> Any: ...

    async def warm(self, skill: str) -> None: ...

    async def ready(self) -> Mapping[str, bool]: ...


class FailingSkills:
    """Implements the gateway's port to skills: other skills, which fail as `kind` says.

    Attributes:
        struck: ids of the requests in which a call failed.
    """

    def __init__(self, skills: Skills, kind: SkillMistake) -> None:
        self._skills = skills
        self._kind = kind
        self.struck: set[str] = set()

    def specs(self) -> Sequence[SkillSpec]:
        return self._skills.specs()

    def resolve(self, name: str) -> SkillSpec:
        return self._skills.resolve(name)

    async def warm(self, skill: str) -> None:
        await self._skills.warm(skill)

    async def ready(self) -> Mapping[str, bool]:
        return await self._skills.ready()

    async def call(self, skill: str, args: Mapping[str, Any], images: Mapping[Any, str], context: CallContext) -> Any:
        """See `gateway.ports.SkillClient.call`."""
        again = context.request_id in self.struck
        self.struck.add(context.request_id)
        if self._kind == "fails_always" or (self._kind == "fails_once" and not again):
            raise SkillFailed(f"{skill} could not work on this picture.")
        if self._kind == "unavailable_once" and not again:
            raise SkillUnavailable(f"{skill} is not available now.")
        outcome = await self._skills.call(skill, args, images, context)
        return _emptied(outcome) if self._kind == "finds_nothing" else outcome


def _emptied(outcome: Any) -> Any:
    """The outcome with empty lists for what was found; what a skill must give stays."""
    from dataclasses import replace

    result = {name: [] if isinstance(value, list) else value for name, value in outcome.result.items()}
    return replace(outcome, result=result)


def ending(record: Mapping[str, Any]) -> str:
    """How a turn ended: see `ENDINGS`."""
    if not record["wrong"]:
        return "right at once" if record.get("plans", 1) <= 2 else "right after a repair"
    if str(record["wrong"]).startswith("refused"):
        return "refused"
    return "wrong, and says so" if "Not done:" in record["answer"] else "wrong, and does not say so"


ENDINGS = ("right at once", "right after a repair", "wrong, and says so", "wrong, and does not say so", "refused")


def to_json(by_kind: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Turns by kind of mistake, and how those ended in which one was made."""
    return {kind: _figures(kind, records) for kind, records in by_kind.items()}


def to_markdown(by_kind: Mapping[str, Sequence[Mapping[str, Any]]], about: Mapping[str, Any]) -> str:
    """The report to read."""
    rows = []
    for kind, records in by_kind.items():
        met = _met(kind, records)
        counts = [sum(ending(record) == how for record in met) for how in ENDINGS]
        rows.append([kind.replace("_", " "), f"{len(met)} of {len(records)}", _right(met), *counts])
    head = ", ".join(f"{name} {value}" for name, value in about.items())
    note = "Counted are the turns in which the mistake was made; without mistakes, all turns."
    return f"{head}. {note}\n\n{table(['mistake', 'turns', 'right in the end', *ENDINGS], rows)}\n"


def _figures(kind: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    met = _met(kind, records)
    endings = {how: sum(ending(record) == how for record in met) for how in ENDINGS}
    return {"turns": len(records), "met": len(met), "right": _right(met).to_json(), "endings": endings}


def _met(kind: str, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [record for record in records if kind == NO_MISTAKE or record.get("struck")]


def _right(records: Sequence[Mapping[str, Any]]) -> Share:
    return Share.of(not record["wrong"] for record in records)
