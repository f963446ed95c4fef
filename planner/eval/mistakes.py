"""Mistakes made on purpose, behind the ports of the planner and of the skills: what does one cost?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_args

from planner.api import Planner, PlannerDelta, PlannerDone, PlannerEvent, PlanRequest
from planner.conversation import UserTurn
from planner.eval.figures import Share, table
from planner.eval.journal import fingerprint
from planner.eval.matching import is_valid
from planner.eval.world.faults import REFUSED
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
        struck: ids of the requests in which a call failed, or was kept from saying what it found. A painter, a
            captioner, or a detector that found nothing has nothing to be kept from.
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
        if self._kind == "fails_always" or (self._kind == "fails_once" and not again):
            self.struck.add(context.request_id)
            raise SkillFailed(f"{skill} could not work on this picture.")
        if self._kind == "unavailable_once" and not again:
            self.struck.add(context.request_id)
            raise SkillUnavailable(f"{skill} is not available now.")
        outcome = await self._skills.call(skill, args, images, context)
        if self._kind != "finds_nothing":
            return outcome
        emptied = _emptied(outcome)
        if emptied.result != outcome.result:
            self.struck.add(context.request_id)
        return emptied


def _emptied(outcome: Any) -> Any:
    """The outcome with empty lists for what was found; what a skill must give stays."""
    from dataclasses import replace

    result = {name: [] if isinstance(value, list) else value for name, value in outcome.result.items()}
    return replace(outcome, result=result)


_SAYS_SO = re.compile(
    r"Not done:|could not work out|results are|sorry|fail(?:s|ed)\b|went wrong|did(?: not|n't) work|not available|"
    r"(?:could not|couldn't|cannot|can't) be (?:used|run|reached|read)|unable to",
    re.IGNORECASE,
)
"""What a platform adds to an answer, and planners say, when a call did not do what it should."""
_AT_ONCE_MAX = 2


def ending(record: Mapping[str, Any], usual: int = _AT_ONCE_MAX) -> str:
    """How a turn ended: see `ENDINGS`.

    Args:
        usual: how often the planner is asked in this turn when no mistake is made.
    """
    if not record["wrong"]:
        return "right at once" if record.get("plans", 1) <= max(usual, _AT_ONCE_MAX) else "right after a repair"
    if str(record["wrong"]).startswith(REFUSED):
        return "refused"
    return "wrong, and says so" if _SAYS_SO.search(record["answer"]) else "wrong, and does not say so"


ENDINGS = ("right at once", "right after a repair", "wrong, and says so", "wrong, and does not say so", "refused")


ByKind = Mapping[str, Sequence[Mapping[str, Any]]]


def to_json(by_kind: ByKind) -> dict[str, Any]:
    """Turns by kind of mistake, and how those ended in which one was made."""
    usual = _usual(by_kind)
    return {kind: _figures(kind, records, usual) for kind, records in by_kind.items()}


def to_markdown(by_kind: ByKind, about: Mapping[str, Any]) -> str:
    """The report to read."""
    rows, usual = [], _usual(by_kind)
    for kind, records in by_kind.items():
        met = _met(kind, records)
        same = _same(met, by_kind.get(NO_MISTAKE, ()))
        endings = _endings(met, usual)
        rows.append([kind.replace("_", " "), f"{len(met)} of {len(records)}", same, _right(met), *endings.values()])
    head = ", ".join(f"{name} {value}" for name, value in about.items())
    note = (
        "Counted are the turns in which the mistake was made; without mistakes, all turns. Beside it stands how often "
        "the same turns ended right without the mistake: the difference is what it costs."
    )
    titles = ["mistake", "turns", "right without it", "right in the end", *ENDINGS]
    return f"{head}. {note}\n\n{table(titles, rows)}\n"


def _usual(by_kind: ByKind) -> dict[str, int]:
    """How often the planner is asked without mistakes, by the question's id."""
    return {str(record["id"]): int(record["plans"]) for record in by_kind.get(NO_MISTAKE, ())}


def _same(met: Sequence[Mapping[str, Any]], plain: Sequence[Mapping[str, Any]]) -> Share:
    """How often turns end right that are not spoilt."""
    ids = {record["id"] for record in met}
    return _right([record for record in plain if record["id"] in ids])


def _endings(met: Sequence[Mapping[str, Any]], usual: Mapping[str, int]) -> dict[str, int]:
    ended = Counter(ending(record, usual.get(str(record["id"]), _AT_ONCE_MAX)) for record in met)
    return {how: ended[how] for how in ENDINGS}


def _figures(kind: str, records: Sequence[Mapping[str, Any]], usual: Mapping[str, int]) -> dict[str, Any]:
    met = _met(kind, records)
    return {
        "turns": len(records),
        "met": len(met),
        "right": _right(met).to_json(),
        "endings": _endings(met, usual),
        "ids": [record["id"] for record in met if record["wrong"]],
    }


def _met(kind: str, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [record for record in records if kind == NO_MISTAKE or record.get("struck")]


def _right(records: Sequence[Mapping[str, Any]]) -> Share:
    return Share.of(not record["wrong"] for record in records)
